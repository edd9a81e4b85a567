// The page of `serve`.

import { start } from "./page.js";
import { server } from "./server.js";

start(server);
