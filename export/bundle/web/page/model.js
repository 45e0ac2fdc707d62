// Opens a variant with transformers.js and asks it. Everything is read from this folder; no text leaves the page.
import { AutoTokenizer, env } from "./libraries/transformers.min.js";
import { MODEL, openReader, openWriter } from "./graphs.js";
import { decoded } from "./tasks.js";
import { examplesOf, textOf } from "./tokens.js";

const libraries = new URL("libraries/", import.meta.url);

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = new URL("../", import.meta.url).pathname; // an address would count as remote
// Caches of scripts would outlive the files: a model that is packed again has the same address.
env.useBrowserCache = env.useWasmCache = false;
/** ONNX Runtime is loaded once: for the processor in a form half as large as that for WebGPU. */
let loaded;
function load(device) {
  if (loaded && loaded !== device) throw new Error(`the page runs on ${loaded}; open it anew for ${device}`);
  loaded = device;
  const name = `ort-wasm-simd-threaded${device === "webgpu" ? ".asyncify" : ""}`;
  const file = (kind) => new URL(`${name}.${kind}`, libraries).href;
  env.backends.onnx.wasm.wasmPaths = { mjs: file("mjs"), wasm: file("wasm") };
}

export const openTokenizer = () => AutoTokenizer.from_pretrained(MODEL);

/** Open a variant.
 *  @param pack what `page/pack.json` says; @param variant one of its variants; @param device "wasm", or "webgpu" where there is one.
 *  @returns a function: a question in (`text`, of pairs `text_pair`, and perhaps the name of a `way`); out comes the `prediction`,
 *  where a text as a whole has labels their `probabilities`, and the `milliseconds` that it took; beside them the `examples`, which
 *  the model read, and its `outputs`. Questions are answered one after the other. */
export async function openModel(pack, variant, device = "wasm") {
  load(device);
  const tokenizer = await openTokenizer();
  const writes = pack.model.task === "translation";
  const opened = { dtype: variant.dtype, device };
  const run = await (writes ? openWriter(opened, pack.model) : openReader(opened, pack.model.task));

  async function answered(question) {
    const started = performance.now();
    const examples = examplesOf(tokenizer, pack, question);
    const outputs = [];
    for (const example of examples) outputs.push(await run(example));
    if (!outputs.flat().every(Number.isFinite)) throw new Error("the outputs are infinite or not a number; ask another variant");
    const said = writes
      ? { prediction: textOf(tokenizer, outputs[0]) }
      : decoded(pack.model, question, examples, outputs);
    return { ...said, milliseconds: performance.now() - started, examples, outputs };
  }

  let before = Promise.resolve();
  return (question) => {
    const answer = before.then(() => answered(question));
    before = answer.catch(() => {});
    return answer;
  };
}
