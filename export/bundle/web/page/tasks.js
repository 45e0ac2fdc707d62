// What the model's outputs say, task by task, as `compress.load` tells it.
import { wordsOf, asRead } from "./tokens.js";

const LONGEST_ANSWER = 30; // tokens

/** The outputs of a graph that a task reads; several stand beside one another. */
export const outputsOf = (task) =>
  ({ embedding: ["sentence_embedding"], "question-answering": ["start_logits", "end_logits"] })[task] ?? ["logits"];

/** @param outputs of each example a list of numbers, position by position.
 *  @returns the prediction and, where a text as a whole has labels, their probabilities. */
export function decoded(model, question, examples, outputs) {
  return DECODERS[model.task](model, outputs, examples, question);
}

const DECODERS = {
  "text-classification": ofOneLabel,
  "multi-label-classification": ofSeveralLabels,
  "token-classification": ofWords,
  "question-answering": ofContext,
  regression: (_, [output]) => ({ prediction: output[0] }),
  reranking: ({ activation }, [output]) => ({ prediction: activation === "sigmoid" ? sigmoid(output[0]) : output[0] }),
  embedding: (_, [output]) => ({ prediction: output }),
};

const sigmoid = (value) => (value >= 0 ? 1 / (1 + Math.exp(-value)) : Math.exp(value) / (1 + Math.exp(value)));

const byLabel = (labels, values) => Object.fromEntries(labels.map((label, place) => [label, values[place]]));

/** The place of the first of the largest numbers. */
const largest = (values) => values.reduce((best, value, place) => (value > values[best] ? place : best), 0);

function ofOneLabel({ labels }, [logits]) {
  const highest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const sum = powers.reduce((one, other) => one + other, 0);
  const shares = powers.map((power) => power / sum);
  return { prediction: labels[largest(logits)], probabilities: byLabel(labels, shares) };
}

function ofSeveralLabels({ labels, thresholds }, [logits]) {
  const shares = logits.map(sigmoid);
  const said = labels.filter((_, place) => shares[place] >= (thresholds[place] ?? 0.5));
  return { prediction: said, probabilities: byLabel(labels, shares) };
}

function ofWords({ labels }, outputs, examples, { text }) {
  // A word that the tokenizer makes nothing of has no prediction of its own.
  const prediction = wordsOf(text).map(() => (labels.includes("O") ? "O" : labels[0]));
  examples.forEach(({ words }, number) =>
    words.forEach((word, token) => {
      const start = token * labels.length;
      if (word >= 0) prediction[word] = labels[largest(outputs[number].slice(start, start + labels.length))];
    }),
  );
  return { prediction };
}

/** The best span of all windows; none where having no answer beats it by more than the threshold. */
function ofContext({ thresholds }, outputs, examples, { text_pair }) {
  let best = -1e9; // lower than any score
  let none = Infinity;
  let prediction = "";
  examples.forEach(({ starts, ends }, number) => {
    const output = outputs[number];
    none = Math.min(none, Math.fround(output[0] + output[1]));
    const inside = [...starts.keys()].filter((token) => starts[token] >= 0);
    let found = { score: -Infinity };
    inside.forEach((first, place) => {
      for (const last of inside.slice(place, place + LONGEST_ANSWER)) {
        const score = Math.fround(output[2 * first] + output[2 * last + 1]);
        if (score > found.score) found = { score, first, last };
      }
    });
    if (found.score <= best) return;
    best = found.score;
    prediction = asRead(text_pair).slice(starts[found.first], ends[found.last]);
  });
  return { prediction: none - best > (thresholds[0] ?? Infinity) ? "" : prediction };
}

/** How alike two vectors are. */
export function similarity(kind, one, other) {
  const product = (a, b) => a.reduce((sum, value, place) => sum + value * b[place], 0);
  const lengths = kind === "cosine" ? Math.sqrt(product(one, one) * product(other, other)) : 1;
  return product(one, other) / lengths;
}
