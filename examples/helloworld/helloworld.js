const http = require("node:http");

const port = 3000;

const server = http.createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/plain" });
  response.end("Hello World\n");
});

server.listen(port, () => console.log("Server running"));

// As process 1 of a container, Node ends on SIGTERM only if it is told to. Open requests are answered first.
process.on("SIGTERM", () => server.close(() => process.exit(0)));
