// What the page calls the parts of a question, and how it shows answers.
import { wordsOf } from "./tokens.js";

/** By task; `several` is where the second field has a text a line, which are held against the first. */
export const FIELDS = {
  usual: { text: "Text", pair: "Second text", way: "Kind" },
  "token-classification": { text: "Words" },
  "question-answering": { text: "Question", pair: "Text that answers it" },
  reranking: { text: "Query", pair: "Passages, one a line", several: true },
  embedding: { pair: "Texts to compare with, one a line", several: true },
  translation: { way: "Languages" },
};

const MOST = 5; // labels
const NUMBERS = 4; // of a vector

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const number = (value) => value.toFixed(4);

/** An answer on one line. */
export function inWords({ task }, { prediction, probabilities }) {
  switch (task) {
    case "text-classification":
      return `${prediction}, ${percent(probabilities[prediction])}`;
    case "multi-label-classification":
      return prediction.join(", ") || "none of the labels";
    case "token-classification":
      return prediction.join(" ");
    case "question-answering":
      return prediction || "no answer";
    case "embedding":
      return `${prediction.slice(0, NUMBERS).map(number).join(", ")}, … (${prediction.length} numbers)`;
    case "translation":
      return prediction;
    default:
      return number(prediction);
  }
}

/** An answer as lines of cells. */
export function linesOf(model, { text }, said) {
  if (model.task === "token-classification") return wordsOf(text).map((word, place) => [word, said.prediction[place]]);
  if (!said.probabilities) return [[inWords(model, said)]];
  const likely = Object.entries(said.probabilities).sort((one, other) => other[1] - one[1]);
  const shown = likely.slice(0, MOST).map(([label, share]) => [label, percent(share)]);
  if (model.task === "text-classification") return shown;
  return [[inWords(model, said), ""], ...shown];
}
