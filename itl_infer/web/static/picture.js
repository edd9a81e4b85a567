// The picture that is searched by: one of those found, or one of the visitor's own, chosen, dropped or pasted.

import { $ } from "./dom.js";

export function makeAsked({ source, search }) {
  const box = $("asked");
  const [image, label, remove] = box.children;
  const asked = { like: "", picture: null };

  function show(url, name) {
    if (image.src.startsWith("blob:") && asked.picture) URL.revokeObjectURL(image.src);
    image.src = url;
    label.textContent = name;
    box.hidden = false;
  }

  function searchBy(file) {
    show(URL.createObjectURL(file), file.name ?? "picture");
    Object.assign(asked, { like: "", picture: file });
    search();
  }

  function forget() {
    Object.assign(asked, { like: "", picture: null });
    $("file").value = "";
    box.hidden = true;
  }

  function like(id, name) {
    show(source.thumbnailOf(id), name);
    Object.assign(asked, { like: id, picture: null });
  }

  remove.addEventListener("click", () => {
    forget();
    $("text").focus();
    search();
  });
  if (source.abilities.picture) takePictures(searchBy);
  return { asked, like, forget };
}

function takePictures(searchBy) {
  $("choose").hidden = false;
  $("file").addEventListener("change", () => $("file").files[0] && searchBy($("file").files[0]));
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file?.type.startsWith("image/")) searchBy(file);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").hidden = ![...event.dataTransfer.types].includes("Files");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("drop").hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    const [file] = event.dataTransfer.files;
    if (file) searchBy(file);
  });
}
