// A session with an XMPP server as a careful client keeps it: one connection with TLS, stream
// management (XEP-0198) that resumes, and another connection when that one is dead. Prints a line
// of JSON for each state that it comes to.

import { client, xml } from "@xmpp/client";

const STREAM_MANAGEMENT = "urn:xmpp:sm:3";
// How long nothing may be heard before the server is asked whether it is there (XEP-0199), and how
// long it may take to answer.
const SILENCE_MS = 30_000;
const PING_MS = 15_000;
// How long it may take from the first packet to a session.
const CONNECT_MS = 30_000;
const LOOK_EVERY_MS = 1_000;

export const tell = (news) => console.log(JSON.stringify(news));

// Connects and stays connected. `ready(isNew)` is called each time that stanzas can be written:
// the session is a new one, or the old one that goes on.
export function connect(username, service, ready) {
  const xmpp = client({ service, domain: "localhost", username, password: "secret" });
  const session = { xmpp, isReady: false };
  let heardAt = performance.now();
  let connectingSince = null;
  let hasAsked = false;

  // After each stanza. By default it waits until none has been written for 250 ms, which never is
  // where people write 20 a second.
  xmpp.streamManagement.requestAckDebounce = 0;

  const begin = (isNew) => {
    // The library is in the middle of it.
    setImmediate(() => {
      if (!xmpp.streamManagement.enabled) return;
      session.isReady = true;
      connectingSince = null;
      tell({ state: isNew ? "online" : "resumed" });
      ready(isNew);
    });
  };
  xmpp.streamManagement.on("resumed", () => begin(false));
  xmpp.on("element", (element) => {
    heardAt = performance.now();
    hasAsked = false;
    if (element.is("enabled", STREAM_MANAGEMENT)) begin(true);
  });
  xmpp.on("status", (status) => {
    if (status === "online") return;
    session.isReady = false;
    if (status === "connecting") connectingSince = performance.now();
    if (status === "disconnect") {
      connectingSince = null;
      tell({ state: "disconnected" });
    }
  });
  // The end of the connection is what counts, and follows.
  xmpp.on("error", (error) => tell({ error: String(error.message).slice(0, 200) }));

  // Not the polite end of a stream, which a dead connection does not answer.
  const drop = () => xmpp.socket?.socket?.destroy();
  setInterval(() => {
    const now = performance.now();
    const silence = now - heardAt;
    if (connectingSince !== null && now - connectingSince > CONNECT_MS) {
      drop();
    } else if (session.isReady && silence > SILENCE_MS + PING_MS) {
      drop();
    } else if (session.isReady && silence > SILENCE_MS && !hasAsked) {
      hasAsked = true;
      const ping = xml("ping", { xmlns: "urn:xmpp:ping" });
      xmpp.send(xml("iq", { type: "get", id: "ping" }, ping)).catch(() => {});
    }
  }, LOOK_EVERY_MS);

  xmpp.start().catch(() => {});
  return session;
}
