// Where the tokens of a text stand in it, which the library does not say: what its tokenizer makes of the text, step by step, is
// looked for in the text byte by byte. What is not found is an error.
const encoder = new TextEncoder();
const LOST = "this tokenizer does not tell where the tokens of this text stand in it";

/** Pairs of start and end, in the text's own units, one a token. */
export function locate(tokenizer, text) {
  const { normalizer, pre_tokenizer, model, tokenizer: file } = tokenizer._tokenizer;
  const bytes = normalisedBytes(normalizer, text);
  const kinds = kindsOf(file);
  const normalised = normalizer ? normalizer(text) : text;
  const parts = normalised === "" ? [] : pre_tokenizer ? pre_tokenizer(normalised, { section_index: 0 }) : [normalised];
  const tokens = parts.map((part) => model([part]));
  if (tokens.flat().join(" ") !== tokenizer.tokenize(text).join(" ")) throw new Error(LOST);
  const spans = [];
  let place = 0;
  parts.forEach((part, number) => {
    const [from, to, inserted] = found(bytes, place, surfaceOf(part, file, kinds, true), kinds);
    spans.push(...spansIn(bytes, from, to, inserted, tokens[number], model, kinds, file));
    place = to;
  });
  return spans;
}

/** The bytes of a text as it is normalised, each with where its character stands. */
function normalisedBytes(normalizer, text) {
  const whole = normalizer ? normalizer(text) : text;
  const bytes = [];
  let place = 0;
  let start = 0;
  for (const character of text) {
    const end = start + character.length;
    let own = normalizer ? normalizer(character) : character;
    if (!whole.startsWith(own, place)) {
      if (own.trim() !== "") throw new Error(LOST);
      own = ""; // of several spaces one is left
    }
    for (const byte of encoder.encode(own.replaceAll("\u2581", " "))) bytes.push({ byte, start, end });
    place += own.length;
    start = end;
  }
  if (place !== whole.length) throw new Error(LOST);
  return bytes;
}

const SPLITTING = new Set(["WhitespaceSplit", "Whitespace", "BertPreTokenizer"]);

/** Whether a tokenizer writes bytes as letters, takes spaces out first, or does not count them with the tokens behind them. */
function kindsOf({ pre_tokenizer, post_processor }) {
  const steps = (step, inner) => (step ? [step, ...(step[inner] ?? []).flatMap((one) => steps(one, inner))] : []);
  const before = steps(pre_tokenizer, "pretokenizers");
  const byteLevel = before.some(({ type }) => type === "ByteLevel");
  const withoutSpaces = before.some(({ type, behavior }) => SPLITTING.has(type) || behavior === "Removed");
  const after = steps(post_processor, "processors").find(({ type }) => ["ByteLevel", "RobertaProcessing"].includes(type));
  return { byteLevel, withoutSpaces, trimmed: after?.trim_offsets === true };
}

const LETTERS = (() => {
  const every = [...Array(256).keys()];
  const shown = every.filter((byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173));
  const others = every.filter((byte) => !shown.includes(byte));
  const pairs = shown.map((byte) => [String.fromCharCode(byte), byte]);
  return new Map([...pairs, ...others.map((byte, number) => [String.fromCharCode(256 + number), byte])]);
})();

/** The bytes that a token, or a part of the text, stands for. */
function surfaceOf(token, { model }, { byteLevel }, isPart) {
  if (byteLevel && [...token].every((letter) => LETTERS.has(letter))) return [...token].map((letter) => LETTERS.get(letter));
  const byte = model.byte_fallback && !isPart && /^<0x([0-9A-F]{2})>$/.exec(token);
  if (byte) return [Number.parseInt(byte[1], 16)];
  const { continuing_subword_prefix: prefix, end_of_word_suffix: suffix } = model;
  let text = token;
  if (!isPart && prefix && text.startsWith(prefix) && text !== prefix) text = text.slice(prefix.length);
  if (!isPart && suffix && text.endsWith(suffix)) text = text.slice(0, -suffix.length);
  return [...encoder.encode(text.replaceAll("\u2581", " "))];
}

const SPACES = new Set([9, 10, 11, 12, 13, 32]);
const isAt = (bytes, place, surface) => surface.every((byte, index) => bytes[place + index]?.byte === byte);

/** Where a part begins and ends, and whether a space was put before it that is not in the text. */
function found(bytes, place, surface, { withoutSpaces }) {
  for (let from = place; from <= bytes.length; from += 1) {
    if (withoutSpaces && from < bytes.length && SPACES.has(bytes[from].byte)) continue;
    if (isAt(bytes, from, surface)) return [from, from + surface.length, false];
    if (surface[0] === 32 && isAt(bytes, from, surface.slice(1))) return [from, from + surface.length - 1, true];
    if (from < bytes.length && !SPACES.has(bytes[from].byte)) break;
  }
  throw new Error(LOST);
}

/** Where the tokens of a part stand. */
function spansIn(bytes, from, to, inserted, tokens, model, kinds, file) {
  const surfaces = tokens.map((token) => (token === model.unk_token ? null : surfaceOf(token, file, kinds, false)));
  let place = from;
  return surfaces.map((surface, number) => {
    let own = surface;
    if (number === 0 && inserted && own) own = own.slice(1);
    const end = own ? place + own.length : endOfUnknown(bytes, place, to, surfaces[number + 1], file.model);
    if (end > to || (own && !isAt(bytes, place, own))) throw new Error(LOST);
    const span = spanOf(bytes, place, end, kinds);
    place = end;
    return span;
  });
}

/** Of no bytes, the character before which something was inserted. */
function spanOf(bytes, from, to, { trimmed }) {
  let first = from;
  while (trimmed && first < to - 1 && SPACES.has(bytes[first].byte)) first += 1;
  return [bytes[first].start, bytes[Math.max(to - 1, first)].end];
}

/** With its character, or before the next token. */
function endOfUnknown(bytes, place, end, next, { type, fuse_unk }) {
  let to = place + 1;
  const isEnd = () => (type === "BPE" && !fuse_unk ? bytes[to].start !== bytes[place].start : next && isAt(bytes, to, next));
  while (to < end && !isEnd()) to += 1;
  return to;
}
