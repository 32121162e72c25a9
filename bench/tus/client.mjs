// Uploads a file with tus: node client.mjs URL FILE. Prints a line of JSON for each piece of news:
// bytes that were handed to the socket, bytes that the server has confirmed, and the end.

import { createReadStream, statSync } from "node:fs";
import { Upload } from "tus-js-client";

const [, , endpoint, path] = process.argv;
const tell = (news) => console.log(JSON.stringify(news));
const upload = new Upload(createReadStream(path), {
  endpoint,
  uploadSize: statSync(path).size,
  // As the documentation has it.
  retryDelays: [0, 3000, 5000, 10000, 20000],
  onProgress: (sent) => tell({ sent }),
  onAfterResponse: (request, response) => {
    const offset = response.getHeader("Upload-Offset");
    if (offset) tell({ has: Number(offset) });
  },
  onShouldRetry: (error) => {
    tell({ again: String(error.message).slice(0, 200) });
    return true;
  },
  onError: (error) => {
    tell({ failed: String(error.message).slice(0, 200) });
    process.exit(1);
  },
  onSuccess: () => {
    tell("done");
    process.exit(0);
  },
});
upload.start();
