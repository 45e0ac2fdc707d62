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
env.backends.onnx.wasm.wasmPaths = {
  mjs: new URL("ort-wasm-simd-threaded.mjs", libraries).href,
  wasm: new URL("ort-wasm-simd-threaded.wasm", libraries).href,
};

export const openTokenizer = () => AutoTokenizer.from_pretrained(MODEL);

/** Open a variant.
 *  @param pack what `page/pack.json` says; @param variant one of its variants.
 *  @returns a function: a question in (`text`, of pairs `text_pair`, and perhaps the name of a `way`); out comes the `prediction`,
 *  where a text as a whole has labels their `probabilities`, and the `milliseconds` that it took; beside them the `examples`, which
 *  the model read, and its `outputs`. */
export async function openModel(pack, variant) {
  const tokenizer = await openTokenizer();
  const writes = pack.model.task === "translation";
  const run = await (writes ? openWriter(variant, pack.model) : openReader(variant, pack.model.task));
  return async (question) => {
    const started = performance.now();
    const examples = examplesOf(tokenizer, pack, question);
    const outputs = [];
    for (const example of examples) outputs.push(await run(example));
    if (!outputs.flat().every(Number.isFinite)) throw new Error("the outputs are infinite or not a number; ask another variant");
    const said = writes
      ? { prediction: textOf(tokenizer, outputs[0]) }
      : decoded(pack.model, question, examples, outputs);
    return { ...said, milliseconds: performance.now() - started, examples, outputs };
  };
}
