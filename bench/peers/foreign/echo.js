// Echoes on Node.js; a client that reads too slowly is not read from meanwhile.
const net = require("net");
const server = net.createServer({ noDelay: true }, (c) => {
  c.on("data", (b) => { if (!c.write(b)) c.pause(); });
  c.on("drain", () => c.resume());
  c.on("error", () => c.destroy());
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => console.log("127.0.0.1:" + server.address().port));
