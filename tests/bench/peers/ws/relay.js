// The original protocol on ws: a message goes to every socket of its group if there are two or
// more, otherwise to the receiver's push sockets.
//
//     node relay.js PORT [CERTIFICATE KEY]

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { WebSocketServer } from "ws";

const [port, certificate, key] = process.argv.slice(2);

const groups = new Map();
const pushes = new Map();

function join(map, key, socket) {
  let sockets = map.get(key);
  if (!sockets) map.set(key, (sockets = new Set()));
  sockets.add(socket);
  socket.on("close", () => {
    sockets.delete(socket);
    if (sockets.size === 0) map.delete(key);
  });
  return sockets;
}

function chat(socket, group) {
  const sockets = join(groups, group, socket);
  socket.on("message", (data) => {
    const { message = null, to_user } = JSON.parse(data);
    if (sockets.size > 1) {
      const text = JSON.stringify({ message });
      for (const each of sockets) each.send(text);
      return;
    }
    const receivers = pushes.get(to_user);
    if (!receivers) return;
    const text = JSON.stringify({ event: { message, group } });
    for (const each of receivers) each.send(text);
  });
}

const http = certificate
  ? createTlsServer({ cert: readFileSync(certificate), key: readFileSync(key) })
  : createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false, maxPayload: 65536 });

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  const path = request.url.split("?")[0];
  const group = /^\/ws\/chat\/(\w+)\/$/.exec(path);
  if (group) return chat(socket, group[1]);
  const user = /^\/push\/(\w+)\/$/.exec(path);
  if (user) return join(pushes, user[1], socket);
  socket.close(1008);
});

http.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });

process.on("SIGTERM", () => process.exit(0));
