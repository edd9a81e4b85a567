// The worker that ranks, so that the page never stands still.

import { RankingDesk } from "./ranking.js";

const desk = new RankingDesk();

addEventListener("message", ({ data }) => {
  try {
    postMessage({ id: data.id, answer: desk.answer(data) });
  } catch (error) {
    postMessage({ id: data.id, error: String(error) });
  }
});
