// Which pictures pass the filters; what they mean is said in itl_infer/where.py, and is the same here.

const DATE_FORM = "2019, 2019-07, 2019-07-03 or 2019-07-03T15:30";
const RANGE_FORM = `${DATE_FORM}, or a range as 2019-07..2019-08, 2019.. or ..2019`;
const DATE = /^(\d{4})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?)?)?$/;

/** A 1 for each picture that passes; null where nothing is asked. Error for what means nothing. */
export function maskOf(pictures, { under = "", name = "", taken = "", orientation = "" }) {
  const tests = [];
  if (under) tests.push(isUnder(pictures, oneForm(under)));
  if (name) tests.push(isCalled(pictures, oneForm(name)));
  if (taken) tests.push(isTaken(pictures, taken));
  if (orientation) tests.push((row) => pictures.shapes?.[row] === orientation[0]);
  if (!tests.length) return null;
  return Uint8Array.from(pictures.ids, (_, row) => Number(tests.every((test) => test(row))));
}

// Systems differ in how they write an accent.
const oneForm = (text) => text.normalize("NFC");

function isUnder({ folders, folder }, under) {
  const target = under.split(/[\\/]/).filter((part) => part && part !== ".").join("/");
  const inside = folders.map((one) => !target || `${oneForm(one)}/`.startsWith(`${target}/`));
  return (row) => inside[folder[row]];
}

function isCalled({ names }, glob) {
  if (glob.includes("/")) throw new Error(`name is \'${glob}\', expected a glob of file names; folders go with under`);
  const pattern = patternOf(glob);
  return (row) => pattern.test(oneForm(names[row]));
}

/** As Python\'s fnmatch reads a glob: *, ?, [abc], [!abc]. */
function patternOf(glob) {
  let pattern = "";
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i];
    const end = char === "[" ? glob.indexOf("]", glob[i + 1] === "!" ? i + 3 : i + 2) : -1;
    if (char === "*") pattern += ".*";
    else if (char === "?") pattern += ".";
    else if (end > 0) {
      const inside = glob.slice(i + 1, end).replace(/[\\[\]^]/g, "\\$&");
      pattern += inside.startsWith("!") ? `[^${inside.slice(1)}]` : `[${inside}]`;
      i = end;
    } else pattern += char.replace(/[\^$\\.*+?()[\]{}|/]/, "\\$&");
  }
  try {
    return new RegExp(`^(?:${pattern})$`, "su");
  } catch {
    return /(?!)/; // a range that ends before it begins has nothing in it
  }
}

function isTaken({ taken }, range) {
  const [first, last = first] = range.split("..").map((text) => text.trim());
  const isRange = range.includes("..");
  const start = first || !isRange ? spanOf(first)[0] : -Infinity;
  const end = last || !isRange ? spanOf(last)[1] : Infinity;
  if ((isRange && !first && !last) || start >= end) throw wrong(range, `${RANGE_FORM}, the earlier date first`);
  return (row) => {
    const at = taken?.[row] ? Date.parse(`${taken[row]}Z`) : NaN;
    return at >= start && at < end;
  };
}

const wrong = (text, form) => new Error(`taken is \'${text}\', expected ${form}`);

/** When a year, month, day, minute or second begins, and the next one, in milliseconds. */
function spanOf(text) {
  const match = DATE.exec(text);
  const given = match ? match.slice(1).filter((part) => part !== undefined).map(Number) : [];
  if (!given.length) throw wrong(text, RANGE_FORM);
  const start = momentOf(given);
  const [year, month = 1, day = 1, hour = 0, minute = 0, second = 0] = given;
  const shown = [start.getUTCFullYear(), start.getUTCMonth() + 1, start.getUTCDate(), start.getUTCHours(), start.getUTCMinutes(), start.getUTCSeconds()];
  if (year < 1 || String(shown) !== String([year, month, day, hour, minute, second])) throw wrong(text, RANGE_FORM);
  const next = [...given];
  next[next.length - 1]++;
  return [start.getTime(), momentOf(next).getTime()];
}

function momentOf([year, month = 1, day = 1, hour = 0, minute = 0, second = 0]) {
  const moment = new Date(Date.UTC(2000, month - 1, day, hour, minute, second));
  moment.setUTCFullYear(year + moment.getUTCFullYear() - 2000, moment.getUTCMonth(), moment.getUTCDate());
  return moment;
}
