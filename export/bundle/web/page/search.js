// Translating with a decoder that remembers its keys and values: greedy and beam search, step by step as in Python
// (`compress.runtimes.generation`), in 32 bits as there.
const NEVER = Math.fround(-1e9);
const round = Math.fround;

/** The places of the largest numbers, falling; of equals the first. */
export function largestPlaces(values, count) {
  const best = [];
  for (let place = 0; place < values.length; place += 1) {
    if (best.length === count && values[place] <= values[best[count - 1]]) continue;
    let at = best.length;
    while (at > 0 && values[best[at - 1]] < values[place]) at -= 1;
    best.splice(at, 0, place);
    if (best.length > count) best.pop();
  }
  return best;
}

/** Translate a source.
 *  @param decoder `begin(example)` and `step(tokens)` give the logits of what follows, one list a sequence; `spread(count)` lets as
 *  many sequences go on from the first, `reorder(origins)` each from another one; `tokens` are `start`, `end` and `pad`.
 *  @returns the tokens that are written, with the one that ends them. */
export async function written(decoder, example, { beams, length_penalty, max_length }) {
  return beams === 1 ? greedy(decoder, example, max_length) : beamSearch(decoder, example, beams, length_penalty, max_length);
}

async function greedy(decoder, example, most) {
  const { end, pad } = decoder.tokens;
  let [logits] = await decoder.begin(example);
  const found = [];
  for (;;) {
    logits[pad] = NEVER;
    const [best] = largestPlaces(logits, 1);
    found.push(best);
    if (best === end || found.length === most) return found;
    [logits] = await decoder.step([best]);
  }
}

/** The most likely tokens of a sequence and the logarithms of their probabilities; never padding. */
function mostLikely(logits, count, pad) {
  const highest = logits.reduce((one, other) => Math.max(one, other), -Infinity);
  const total = round(Math.log(round(logits.reduce((sum, value) => sum + Math.exp(value - highest), 0))));
  logits[pad] = -Infinity;
  return largestPlaces(logits, count).map((token) => ({ token, value: round(round(logits[token] - highest) - total) }));
}

async function beamSearch(decoder, example, beams, lengthPenalty, most) {
  const { end, pad } = decoder.tokens;
  const [first] = await decoder.begin(example);
  decoder.spread(beams);
  let logits = Array.from({ length: beams }, () => Float32Array.from(first));
  let running = logits.map((_, beam) => ({ tokens: [], score: beam ? NEVER : 0 }));
  let finished = running.map(() => ({ tokens: [], score: NEVER, isFinished: false }));
  let improvable = true;
  for (let length = 1; length <= most; length += 1) {
    const every = running.flatMap(({ tokens, score }, origin) =>
      mostLikely(logits[origin], 2 * beams, pad).map(({ token, value }) => ({
        origin,
        tokens: [...tokens, token],
        score: round(value + score),
        stopped: token === end || length === most,
      })),
    );
    const kept = best(every, 2 * beams);
    running = best(
      kept.map((one) => ({ ...one, score: one.stopped ? round(one.score + NEVER) : one.score })),
      beams,
    );
    const penalty = round(length ** lengthPenalty);
    const ended = kept.map(({ tokens, score, stopped }, place) => {
      const isFinished = stopped && place < beams;
      return { tokens, isFinished, score: round(round(score / penalty) + (isFinished && improvable ? 0 : NEVER)) };
    });
    finished = best([...finished, ...ended], beams);
    const lowest = Math.min(...finished.map(({ score }) => score));
    const hoped = round(running[0].score / penalty);
    improvable &&= finished.some(({ isFinished }) => hoped > (isFinished ? lowest : NEVER));
    if (!improvable || kept.every(({ stopped }) => stopped)) break;
    decoder.reorder(running.map(({ origin }) => origin));
    logits = await decoder.step(running.map(({ tokens }) => tokens.at(-1)));
  }
  return finished[0].tokens;
}

const best = (candidates, count) => largestPlaces(candidates.map(({ score }) => score), count).map((place) => candidates[place]);
