// Texts in notes, cut as Python's textwrap cuts them, and quoted as a command takes them.

import { countCharacters } from "./letters.js";

/** A text on one line of at most `width` characters, its last words left out for `placeholder` where it is longer. */
export function shorten(text, letters, width = 200, placeholder = " ...") {
  const whole = letters.split(text).join(" ");
  if (countCharacters(whole) <= width) return whole;
  const line = firstLine(chunksOf(whole, letters), width);
  let length = line.reduce((sum, chunk) => sum + countCharacters(chunk), 0);
  while (line.length && (line.at(-1) === " " || length + placeholder.length > width)) {
    length -= countCharacters(line.pop());
  }
  return line.length ? line.join("") + placeholder : placeholder.trimStart();
}

/** The chunks that fit on a line, of one that fits on none its begin. */
function firstLine(chunks, width) {
  const line = [];
  let length = 0;
  for (const chunk of chunks) {
    const size = countCharacters(chunk);
    if (length + size <= width) {
      line.push(chunk);
      length += size;
      continue;
    }
    if (size > width && length < width) line.push(beginOf([...chunk], width - length));
    break;
  }
  if (line.at(-1) === " ") line.pop();
  return line;
}

/** At most `room` characters, up to the last hyphen among them. */
function beginOf(characters, room) {
  const hyphen = characters.slice(0, room).lastIndexOf("-");
  const isBehindWord = hyphen > 0 && characters.slice(0, hyphen).some((one) => one !== "-");
  return characters.slice(0, isBehindWord ? hyphen + 1 : room).join("");
}

/** Where a line may be broken: at spaces, behind hyphens within words, and around dashes. */
function chunksOf(text, letters) {
  const { alnum, letter } = letters.classes;
  const [one, word] = [`[${letter}_]`, `[${alnum}_!"'&.,?]`];
  const chunk = new RegExp(
    ` +|(?<=${word})-{2,}(?=[${alnum}_])|[^ ]+?(?:-(?:(?<=${one}{2}-)|(?<=${one}-${one}-))(?=${one}-?${one})` +
      `|(?= |$)|(?<=${word})(?=-{2,}[${alnum}_]))`,
    "gu",
  );
  return text.match(chunk) ?? [];
}

/** A text as the command `query` takes it. */
export const quoted = (text, letters) => (letters.isAlnum(text) ? text : `"${text.replaceAll('"', '\\"')}"`);
