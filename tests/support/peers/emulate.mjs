// Starts the unmodified emulator on loopback only, at a free port, seeded from the first line on stdin.
// Says its port and then every request, a JSON line each. Ends with stdin.
import net from "node:net";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port) {
  this.on("request", (request) => say({ method: request.method, target: request.url }));
  return listen.call(this, port, "127.0.0.1", () => say({ port: this.address().port }));
};

const lines = createInterface({ input: process.stdin });
lines.once("line", async (seed) => {
  const { createEmulator } = await import(pathToFileURL(process.argv[2]).href);
  await createEmulator({ service: "google", port: 0, seed: JSON.parse(seed) });
});
lines.once("close", () => process.exit(0));
