// Without this file the form is posted and answered as a page; with it, photos can be dropped and pasted.
"use strict";

const form = document.querySelector("form");
if (form) {
  const answer = document.getElementById("answer");
  const drop = document.getElementById("drop");
  const photo = document.getElementById("photo");
  const preview = document.getElementById("preview");
  const most = Number(form.dataset.bytes);
  let asked = 0;

  function reveal() {
    document.querySelectorAll(".scripted").forEach((part) => { part.hidden = false; });
  }

  function say(text) {
    const box = document.createElement("p");
    box.setAttribute("role", "alert");
    box.className = "answer problem";
    box.textContent = text;
    answer.replaceChildren(box);
    answer.setAttribute("aria-busy", "false");
  }

  async function ask() {
    const file = photo.files[0];
    if (!file) return;
    const mine = ++asked;
    if (file.size > most) {
      say(`The photo is too large a file: at most ${most / 1e6} MB are taken.`);
      return;
    }
    answer.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { "X-Part": "answer" } });
      const text = await response.text();
      if (mine !== asked) return; // a later photo was asked about meanwhile
      if (!(response.headers.get("Content-Type") || "").startsWith("text/html")) {
        say(text);
        return;
      }
      answer.innerHTML = text; // our own template, which escapes every value
      reveal();
      answer.setAttribute("aria-busy", "false");
      answer.scrollIntoView({ block: "nearest" });
    } catch {
      if (mine === asked) say("The server does not answer; is it still running?");
    }
  }

  function show() {
    const file = photo.files[0];
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.hidden = !file;
    if (file) preview.src = URL.createObjectURL(file);
    else preview.removeAttribute("src");
  }

  function take(files) {
    const images = [...files].filter((file) => file.type.startsWith("image/"));
    if (!images.length) {
      if (files.length) say("This is not a JPEG, PNG or WebP photo.");
      return;
    }
    const one = new DataTransfer();
    one.items.add(images[0]);
    photo.files = one.files;
    show();
    ask();
  }

  preview.addEventListener("error", () => { preview.hidden = true; });
  photo.addEventListener("change", () => { show(); ask(); });
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  form.addEventListener("change", (event) => { if (event.target !== photo && event.target.checkValidity()) ask(); });
  answer.addEventListener("input", (event) => {
    if (event.target.id !== "map-opacity") return;
    answer.querySelector(".layers .colours").style.opacity = event.target.value / 100;
  });
  document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  reveal();
  show(); // a browser may have kept the choice over a reload
}
