// Small helpers around the document. Every text from outside is set as text, never as markup.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Bytes of a name that are no text arrive as lone surrogates.
export const printable = (text) => text.replace(/[\ud800-\udfff]/gu, "\ufffd");

export const nameOf = (path) => printable(path.split(/[\\/]/).at(-1));

export function folderOf(path) {
  const end = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  return end < 0 ? "" : path.slice(0, end) || path.slice(0, 1);
}

export const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

// What a field says, into the clipboard; over plain HTTP browsers have the old way only.
export async function copyFrom(field) {
  field.focus();
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
