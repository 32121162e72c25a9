// A tus server that keeps files in a folder: node server.mjs FOLDER. It prints its port, and ends
// with its input.

import { createServer } from "node:http";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const tus = new Server({
  path: "/files",
  // As a client behind a relay knows it.
  respectForwardedHeaders: false,
  relativeLocation: true,
  datastore: new FileStore({ directory: process.argv[2] }),
});
const http = createServer(tus.handle.bind(tus));
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
