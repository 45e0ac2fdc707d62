// What a model reads of a question: tokens as in Python, cut and divided as there.
// An example has `ids` and `types`, lists of one number a token, and `prompt`, what a translation begins with; of words also `words`, and of a context `starts` and `ends`.
import { locate } from "./offsets.js";

// Python's white space, which that of JavaScript is not
const SPACE = "[\\p{White_Space}\\x1c-\\x1f]";
const AROUND = new RegExp(`^${SPACE}+|${SPACE}+$`, "gu");
const BETWEEN = new RegExp(`${SPACE}+`, "u");

function normalised(text) {
  if (!text.isWellFormed()) throw new Error("half of a surrogate pair is no text");
  return text.normalize("NFC");
}

/** A text as training read texts: in Unicode's NFC, without space around it. */
export const asRead = (text) => normalised(text).replace(AROUND, "");

/** The words of a question: a list, or those that spaces set apart. */
export const wordsOf = (text) => (Array.isArray(text) ? text.map(normalised) : splitAtSpaces(normalised(text)));

const splitAtSpaces = (text) => text.split(BETWEEN).filter((word) => word !== "");

/** How a question is asked, by its name or the first way that there is. */
export function wayOf(pack, question) {
  const way = question.way == null ? pack.ways[0] : pack.ways.find(({ name }) => name === question.way);
  if (!way) throw new Error(`the model knows ${pack.ways.map(({ name }) => name).join(", ")}, and not ${question.way}`);
  return way;
}

/** @param question `text`, of pairs `text_pair`, and perhaps the name of a `way`. */
export function examplesOf(tokenizer, pack, question) {
  const { task, pairs } = pack.model;
  if (pairs !== (question.text_pair != null)) throw new Error(`the model reads ${pairs ? "pairs of texts" : "single texts"}`);
  const way = wayOf(pack, question);
  if (task === "token-classification") return ofWords(tokenizer, pack, way, question);
  return task === "question-answering" ? ofWindows(tokenizer, pack, way, question) : [ofTexts(tokenizer, pack, way, question)];
}

/** The text of tokens that were written. */
export const textOf = (tokenizer, tokens) =>
  tokens.length ? tokenizer.decode(tokens, { skip_special_tokens: true }).replace(AROUND, "") : "";

const bare = (tokenizer, text) => tokenizer(text, { return_tensor: false, add_special_tokens: false }).input_ids;

const roomFor = (pack, way) => pack.model.max_length - way.before.length - way.between.length - way.after.length;

/** Tokens between those that stand around them. */
function assembled(way, first, second = []) {
  const all = [
    ...way.before,
    ...first.map((id) => ({ id, type: way.first_type })),
    ...way.between,
    ...second.map((id) => ({ id, type: way.second_type })),
    ...way.after,
  ];
  return { ids: all.map(({ id }) => id), types: all.map(({ type }) => type), prompt: way.prompt };
}

function ofTexts(tokenizer, pack, way, { text, text_pair }) {
  const first = bare(tokenizer, way.prefix + asRead(text));
  const room = roomFor(pack, way);
  if (text_pair == null) return assembled(way, first.slice(0, room));
  const second = bare(tokenizer, asRead(text_pair));
  const [one, other] = longestFirst(first.length, second.length, room);
  return assembled(way, first.slice(0, one), second.slice(0, other));
}

/** How many tokens are left of each of two texts. */
function longestFirst(one, other, room) {
  if (one + other <= room) return [one, other];
  const shorter = Math.min(one, other);
  let kept = [shorter, Math.max(shorter, room - shorter)];
  if (kept[0] + kept[1] > room) kept = [Math.floor(room / 2), Math.ceil(room / 2)];
  return one > other ? kept.reverse() : kept;
}

/** Where the parts begin and end that a list is divided into. */
function windows(length, room, shared) {
  const found = [];
  for (let start = 0; ; start += room - shared) {
    const end = Math.min(start + room, length);
    found.push([start, end]);
    if (end === length) return found;
  }
}

function ofWords(tokenizer, pack, way, { text }) {
  const before = splitAtSpaces(way.prefix);
  const all = [...before, ...wordsOf(text)];
  const tokens = all.flatMap((word, number) => bare(tokenizer, word).map((id) => ({ id, word: number - before.length })));
  const seen = new Set();
  return windows(tokens.length, roomFor(pack, way), 0).map(([start, end]) => {
    const part = tokens.slice(start, end);
    const words = part.map(({ word }) => {
      const own = word < 0 || seen.has(word) ? -1 : word;
      seen.add(word);
      return own;
    });
    const around = [way.before, way.after].map((specials) => specials.map(() => -1));
    return { ...assembled(way, part.map(({ id }) => id)), words: [around[0], words, around[1]].flat() };
  });
}

function ofWindows(tokenizer, pack, way, { text, text_pair }) {
  const room = roomFor(pack, way);
  const context = asRead(text_pair);
  const question = bare(tokenizer, cut(tokenizer, way.prefix + asRead(text), Math.floor(room / 2)));
  const ids = bare(tokenizer, context);
  const spans = locate(tokenizer, context);
  return windows(ids.length, room - question.length, Math.floor(room / 4)).map(([start, end]) => {
    const before = way.before.length + question.length + way.between.length;
    const placed = (side) => [
      ...new Array(before).fill(-1),
      ...spans.slice(start, end).map((span) => span[side]),
      ...way.after.map(() => -1),
    ];
    return { ...assembled(way, question, ids.slice(start, end)), starts: placed(0), ends: placed(1) };
  });
}

/** The beginning of a question, so long that it has no more tokens. */
function cut(tokenizer, question, longest) {
  for (;;) {
    const spans = locate(tokenizer, question);
    if (spans.length <= longest) return question;
    question = question.slice(0, spans[longest][0]); // the tokens of what is left may be others, and more
  }
}
