// The filtered case on Bun (uWebSockets): a topic for each (device, metric), which is how such servers filter.
//
//     bun bench/peers/bun_filtered.js PORT RATE [BATCH]
//
// The same publications, pace and commands as filtered_driver.py. A subscriber gets the metrics that it asked for of the
// devices that it asked for; here each metric is a message of its own, since a topic carries whole messages. Tokens are
// not verified, which is to Bun's advantage.
const [port, rate] = [+process.argv[2], +process.argv[3]];
const batch = +(process.argv[4] ?? 100);
const DEVICES = 1000;
const METRICS = ["temperature", "humidity", "pressure", "vibration", "battery", "air_quality", "voltage", "current"];
const topics = Array.from({length: DEVICES}, (_, device) => METRICS.map((name) => `${device}/${name}`));
const heads = Array.from({length: DEVICES}, (_, device) => METRICS.map((name) =>
  `{"type":"telemetry_update","channel":"telemetry","device_id":${device},"telemetry":{"${name}":` +
  `{"value":23.5,"unit":"C","timestamp":"2024-01-01T12:00:00Z","n":`));

const server = Bun.serve({
  port,
  hostname: "127.0.0.1",
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("not an upgrade", {status: 426});
  },
  websocket: {
    perMessageDeflate: false,
    backpressureLimit: 1 << 26,
    idleTimeout: 0,
    message(socket, text) {
      const command = JSON.parse(text);
      if (command.type === "auth") {
        socket.send('{"type":"auth_response","success":true}');
        return;
      }
      for (const device of command.device_id) {
        for (const name of command.metrics) socket.subscribe(`${device}/${name}`);
      }
      socket.send(`{"type":"subscribe_response","id":${command.id},"success":true}`);
    },
  },
});

let number = 0;
function publish(count) {
  for (let i = 0; i < count; i++, number++) {
    const device = number % DEVICES, first = number * METRICS.length;
    for (let metric = 0; metric < METRICS.length; metric++) {
      server.publish(topics[device][metric], `${heads[device][metric]}${first + metric}}}}`);
    }
  }
}

if (rate) {
  const started = performance.now();
  setInterval(() => publish(Math.max(0, Math.floor((performance.now() - started) / 1000 * rate) - number)), 1);
} else {
  const saturate = () => {
    publish(batch);
    setImmediate(saturate);
  };
  saturate();
}
