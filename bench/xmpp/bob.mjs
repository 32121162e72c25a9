// Listens: node bob.mjs SERVICE. Prints a line of JSON for each message. Ends with its input.

import { xml } from "@xmpp/client";
import { connect, tell } from "./session.mjs";

const session = connect("bob", process.argv[2], (isNew) => {
  if (isNew) session.xmpp.send(xml("presence"));
});
session.xmpp.on("stanza", (stanza) => {
  const body = stanza.is("message") && stanza.getChildText("body");
  if (body) tell({ heard: Number(body) });
});
process.stdin.on("end", () => process.exit(0)).resume();
