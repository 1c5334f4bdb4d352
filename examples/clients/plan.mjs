// A plan from Node 18 or newer, without any package: the planning service over HTTP and JSON.
//
//     POWERPLAN_TOKEN=... NODE_EXTRA_CA_CERTS=ca.pem node plan.mjs https://localhost:8080 0.05
//
// NODE_EXTRA_CA_CERTS names the authority of the server's certificate, where the system does not know it.

const SERVICE = "powerplan.v1.PlannerService";
const TRIES = 5;

/** A failure as the service tells it: a stable reason, the fields at fault, the id to report. */
class PlannerError extends Error {
  constructor(answer, requestId) {
    super(answer.message);
    const detail = (kind) => (answer.details ?? []).find(({ type }) => type === `google.rpc.${kind}`)?.debug ?? {};
    this.reason = detail("ErrorInfo").reason ?? answer.code;
    this.violations = detail("BadRequest").fieldViolations ?? [];
    this.requestId = requestId;
  }
}

/** One call; waits and asks again while the server says that another try makes sense. */
async function call(address, method, request, seconds = 60) {
  const headers = { "content-type": "application/json", "connect-timeout-ms": String(1000 * seconds) };
  if (process.env.POWERPLAN_TOKEN) headers.authorization = `Bearer ${process.env.POWERPLAN_TOKEN}`;
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(`${address}/${SERVICE}/${method}`, {
      method: "POST",
      headers,
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(1000 * (seconds + 5)),
    });
    if (response.ok) return response.json();
    const wait = Number(response.headers.get("retry-after"));
    if (!wait || attempt === TRIES) {
      const answer = await response.json().catch(() => ({ message: `HTTP ${response.status}` }));
      throw new PlannerError(answer, response.headers.get("x-request-id"));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
  }
}

/** An array as the wire has it: row-major, little-endian. */
function tensor(shape, values) {
  const bytes = new DataView(new ArrayBuffer(8 * values.length));
  values.forEach((value, i) => bytes.setFloat64(8 * i, value, true));
  return { dtype: "DATA_TYPE_FLOAT64", shape, data: Buffer.from(bytes.buffer).toString("base64") };
}

const [address, maxNmse] = process.argv.slice(2);
const request = {
  task: {
    network: {
      graph: {
        inputShape: [2],
        output: "out",
        nodes: [
          { name: "hidden", type: "linear", inputs: ["input"], tensors: { weight: tensor([3, 2], [0.5, -0.25, 0.75, 1, -0.5, 0.25]) } },
          { name: "relu", type: "activation", inputs: ["hidden"], attributes: { kind: { textValue: "relu" } } },
          { name: "out", type: "linear", inputs: ["relu"], tensors: { weight: tensor([1, 3], [1, -0.5, 0.25]) } },
        ],
      },
    },
    hardware: { programmingNoiseStdSiemens: 1e-6 },
    inputs: tensor([4, 2], [0.5, 1, -1, 0.25, 0.75, -0.5, 1, 1]),
    target: { maxNmse: Number(maxNmse) },
  },
};
try {
  const { plan } = await call(address, "Plan", request);
  console.log(plan.termination.outcome);
  console.log(plan.gains.conductanceSiemens.map((gain) => gain.scalar).join(" "));
} catch (error) {
  if (!(error instanceof PlannerError)) throw error;
  console.error(`${error.reason}: ${error.message} (request ${error.requestId})`);
  for (const { field, description } of error.violations) console.error(`  ${field}: ${description}`);
  process.exitCode = 1;
}
