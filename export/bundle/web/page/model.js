// Opens a variant with transformers.js and asks it. Everything is read from this folder; no text leaves the page.
import { AutoModelForSequenceClassification, AutoTokenizer, Tensor, env } from "./libraries/transformers.min.js";

const MODEL = "model";
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

// Python's white space, which String.trim is not
const SPACE = "[\\p{White_Space}\\x1c-\\x1f]";
const AROUND = new RegExp(`^${SPACE}+|${SPACE}+$`, "gu");

/** A text as training read texts: in Unicode's NFC, without space around it. */
function asRead(text) {
  if (!text.isWellFormed()) throw new Error("half of a surrogate pair is no text");
  return text.normalize("NFC").replace(AROUND, "");
}

export const openTokenizer = () => AutoTokenizer.from_pretrained(MODEL);

/** What the model reads of a text, behind a prefix, as arrays by name. A long text is cut as in Python, before special tokens are added,
 *  where transformers.js would cut the last of these off. */
export function encode(tokenizer, prefix, text, maxLength) {
  const read = prefix + asRead(text);
  const whole = tokenizer(read, { return_tensor: false });
  const length = whole.input_ids.length;
  if (length <= maxLength) return whole;
  const bare = tokenizer(read, { return_tensor: false, add_special_tokens: false }).input_ids;
  const added = length - bare.length;
  let before = 0;
  while (before < added && bare.some((id, index) => whole.input_ids[before + index] !== id)) before += 1;
  const after = added - before;
  const cut = (values) => [...values.slice(0, maxLength - after), ...values.slice(length - after)];
  return Object.fromEntries(Object.entries(whole).map(([name, values]) => [name, cut(values)]));
}

/** Open a variant by the name that transformers.js has for its precision.
 *  @returns a function: a text in, its labels' probabilities, most likely first, and the milliseconds that it took. */
export async function openModel(dtype, maxLength, prefix) {
  const tokenizer = await openTokenizer();
  const model = await AutoModelForSequenceClassification.from_pretrained(MODEL, { dtype, device: "wasm" });
  const names = model.config.id2label;
  return async (text) => {
    const started = performance.now();
    const arrays = encode(tokenizer, prefix, text, maxLength);
    const inputs = {};
    for (const [name, values] of Object.entries(arrays)) {
      inputs[name] = new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
    }
    const { logits } = await model(inputs);
    const labels = probabilities(Array.from(logits.data)).map((probability, index) => [names[index], probability]);
    labels.sort((one, other) => other[1] - one[1]);
    return { labels, milliseconds: performance.now() - started, logits: Array.from(logits.data), ids: arrays.input_ids };
  };
}

function probabilities(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((one, other) => one + other, 0);
  return powers.map((power) => power / sum);
}
