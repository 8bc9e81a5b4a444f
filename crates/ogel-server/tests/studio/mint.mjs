// Makes session cookies exactly as Studio does: reads a list of wishes from standard input, writes a list of
// `{ token, cookie }`. A wish: { family: "v4" | "v5", secret, secure, name?, claims, maxAge? }.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import * as v5 from "@auth/core/jwt";
import * as v5Cookies from "./node_modules/@auth/core/lib/utils/cookie.js";

const require = createRequire(import.meta.url);
const v4 = require("next-auth/jwt");
const v4Cookies = require("./node_modules/next-auth/core/lib/cookie.js");

const logger = { debug() {}, warn() {}, error() {} };

async function mint({ family, secret, secure, name, claims, maxAge }) {
  const cookies = family === "v4" ? v4Cookies : v5Cookies;
  const option = cookies.defaultCookies(secure).sessionToken;
  if (name) option.name = name;
  const token =
    family === "v4"
      ? await v4.encode({ token: claims, secret, maxAge })
      : await v5.encode({ token: claims, secret, maxAge, salt: option.name });
  const store = family === "v4"
    ? new cookies.SessionStore(option, { cookies: {} }, logger)
    : new cookies.SessionStore(option, {}, logger);
  const set = store.chunk(token, { expires: new Date(Date.now() + 1e6) });
  return { token, cookie: set.map(({ name, value }) => `${name}=${encodeURIComponent(value)}`).join("; ") };
}

const wishes = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(await Promise.all(wishes.map(mint))));
