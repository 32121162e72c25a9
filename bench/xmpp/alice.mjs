// Writes to bob: node alice.mjs SERVICE. Each line of the input is a number, and is written at once
// as a message, or as soon as there is a session. Ends with its input.

import { createInterface } from "node:readline";
import { xml } from "@xmpp/client";
import { connect } from "./session.mjs";

// What the server has not acknowledged, in the order in which it was written; and what of that the
// stream management has, which writes it again when the session goes on.
const waiting = new Map();
const handed = new Set();

const session = connect("alice", process.argv[2], (isNew) => {
  handed.clear();
  if (isNew) {
    session.xmpp.send(xml("presence")).catch(() => {});
  } else {
    for (const { stanza } of streamManagement.outbound_q) handed.add(stanza.attrs.id);
  }
  waiting.forEach((_, id) => write(id));
});
const { streamManagement } = session.xmpp;

// The number of a message; nothing of a presence or a ping.
streamManagement.on("ack", ({ attrs: { id } }) => {
  waiting.delete(id);
  handed.delete(id);
});
streamManagement.on("fail", ({ attrs: { id } }) => handed.delete(id));

function write(id) {
  if (!session.isReady || handed.has(id)) return;
  handed.add(id);
  const message = xml(
    "message",
    { id, to: "bob@localhost", type: "chat" },
    xml("body", {}, waiting.get(id)),
  );
  // What the socket did not take the stream management has not got.
  session.xmpp.send(message).catch(() => handed.delete(id));
}

createInterface({ input: process.stdin })
  .on("line", (number) => {
    const id = `m${number}`;
    waiting.set(id, number);
    write(id);
  })
  .on("close", () => process.exit(0));
