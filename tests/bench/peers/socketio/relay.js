// One node of a group chat on Socket.IO with its sharded Redis adapter. Clients speak Socket.IO's own protocol.
// A message goes to every socket of its group, on all nodes. There is no push: to know who is present on another
// node would cost a further round trip for each message.
//
//     REDIS_PORT=PORT node relay.js PORT

import { createServer } from "node:http";
import { createShardedAdapter } from "@socket.io/redis-adapter";
import Redis from "ioredis";
import { Server } from "socket.io";

const publisher = new Redis({ port: Number(process.env.REDIS_PORT), enableAutoPipelining: true });
const http = createServer();
const io = new Server(http, {
  adapter: createShardedAdapter(publisher, publisher.duplicate()),
  transports: ["websocket"],
  maxHttpBufferSize: 65536,
  serveClient: false,
});

io.on("connection", (socket) => {
  const { group } = socket.handshake.query;
  if (!/^\w+$/.test(group)) return socket.disconnect(true);
  socket.join(group);
  socket.on("chat", ({ message = null }) => io.to(group).emit("chat", { message }));
});

http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });

process.on("SIGTERM", () => process.exit(0));
