// Running the graphs of a variant: an example in, numbers or tokens out.
import { M2M100ForConditionalGeneration, PreTrainedModel, Tensor } from "./libraries/transformers.min.js";
import { written } from "./search.js";
import { outputsOf } from "./tasks.js";

export const MODEL = "model";
const PAST = "past_key_values";

const tensor = (numbers, rows = 1) => new Tensor("int64", BigInt64Array.from(numbers, BigInt), [rows, numbers.length / rows]);

/** A graph that reads: an example in, a list of numbers out. */
export async function openReader({ dtype, device }, task) {
  // Any architecture: all of them are one graph, whose inputs and outputs have the same names.
  const config = { model_type: "custom" };
  const model = await PreTrainedModel.from_pretrained(MODEL, { config, dtype, device });
  return async ({ ids, types }) => {
    const given = { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: types };
    const taken = model.sessions.model.inputNames.map((name) => [name, tensor(given[name])]);
    const found = await model(Object.fromEntries(taken));
    const [first, second] = outputsOf(task).map((name) => Array.from(found[name].data));
    return second ? first.flatMap((value, place) => [value, second[place]]) : first;
  };
}

/** An encoder and a decoder that write: an example in, a list of tokens out. */
export async function openWriter({ dtype, device }, settings) {
  // Any architecture: the two graphs of all of them are opened by this class.
  const model = await M2M100ForConditionalGeneration.from_pretrained(MODEL, { dtype, device });
  return (example) => written(new Decoder(model), example, settings);
}

/** What a search asks: which tokens may follow on others. */
class Decoder {
  constructor({ sessions, config }) {
    this.encoder = sessions.model;
    this.session = sessions.decoder_model_merged;
    this.tokens = { start: config.decoder_start_token_id, end: config.eos_token_id, pad: config.pad_token_id };
  }

  async begin({ ids, prompt }) {
    const source = { input_ids: tensor(ids).ort_tensor, attention_mask: tensor(ids.map(() => 1)).ort_tensor };
    const { last_hidden_state } = await this.encoder.run(source);
    this.state = { encoder_attention_mask: source.attention_mask, encoder_hidden_states: last_hidden_state };
    for (const { name, type, shape } of this.session.inputMetadata) {
      if (name.startsWith(PAST)) this.state[name] = new Tensor(type, [], [1, shape[1], 0, shape[3]]).ort_tensor;
    }
    return this.run([this.tokens.start, ...prompt], 1, false);
  }

  step(tokens) {
    return this.run(tokens, tokens.length, true);
  }

  async run(tokens, rows, goesOn) {
    const choice = new Tensor("bool", [goesOn], [1]);
    const given = { ...this.state, input_ids: tensor(tokens, rows).ort_tensor, use_cache_branch: choice.ort_tensor };
    const taken = this.session.inputNames.map((name) => [name, given[name]]);
    const { logits, ...present } = await this.session.run(Object.fromEntries(taken));
    for (const [name, value] of Object.entries(present)) {
      // Keys and values of the source are given back once: afterwards there are none of them.
      if (!goesOn || name.includes(".decoder.")) this.state[name.replace("present", PAST)] = await inMemory(value);
    }
    const [, positions, width] = logits.dims;
    const last = (row) => (row * positions + positions - 1) * width;
    return Array.from({ length: rows }, (_, row) => logits.data.slice(last(row), last(row) + width));
  }

  /** Let as many sequences go on from the first. */
  spread(count) {
    const origins = new Array(count).fill(0);
    for (const name of Object.keys(this.state)) this.state[name] = taken(this.state[name], origins);
  }

  /** Let each sequence go on from another one. */
  reorder(origins) {
    if (origins.every((origin, place) => origin === place)) return;
    for (const name of Object.keys(this.state)) {
      if (name.includes(".decoder.")) this.state[name] = taken(this.state[name], origins);
    }
  }
}

/** A tensor whose numbers can be read, wherever it is. */
async function inMemory(value) {
  return value.location === "cpu" ? value : new Tensor(value.type, await value.getData(true), value.dims).ort_tensor;
}

/** Rows of a tensor. */
function taken({ type, data, dims }, rows) {
  const size = data.length / dims[0];
  const found = new data.constructor(size * rows.length);
  rows.forEach((row, place) => found.set(data.subarray(row * size, (row + 1) * size), place * size));
  return new Tensor(type, found, [rows.length, ...dims.slice(1)]).ort_tensor;
}
