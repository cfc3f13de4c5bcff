/** GET /docs: the OpenAPI document as a page to read and to try, made of files of this program alone. */

import { Type } from "@sinclair/typebox";
import { TaskRunnerError } from "../core/errors.ts";
import { readPageFile } from "./docs-page-files.ts";
import { requestTarget } from "./request-target.ts";
import type { Answer, Route } from "./route.ts";

/** Nothing but what this server sends, and no script that is written into a page. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  // Its icons are written into its style sheet.
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const HARDENED = {
  "content-security-policy": POLICY,
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

const SCRIPT = "swagger-ui-bundle.js";
const STYLE = "swagger-ui.css";
const START = "start.js";
const JAVASCRIPT = "text/javascript; charset=utf-8";
/** A page that is opened again within it loads no megabytes; a newer program's files are there a while after it. */
const KEPT_SEC = 600;

/** Paths are taken from where the script itself lies, so that they hold under any prefix. */
const START_TEXT = `const root = new URL("..", document.currentScript.src).href;
SwaggerUIBundle({
  url: \`\${root}openapi.json\`,
  dom_id: "#docs",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // It would ask a service elsewhere.
  validatorUrl: null,
});
`;

const FILES: Readonly<Record<string, { readonly type: string; text(): string | Promise<string> }>> = {
  [START]: { type: JAVASCRIPT, text: () => START_TEXT },
  [SCRIPT]: { type: JAVASCRIPT, text: () => readPageFile("script") },
  [STYLE]: { type: "text/css; charset=utf-8", text: () => readPageFile("style") },
};

export function docsRoutes(): readonly Route[] {
  return [
    {
      method: "GET",
      path: "/docs",
      summary: "The API as a page to read and to try",
      access: "open",
      answers: { 200: { description: "The page.", type: "text/html", schema: Type.String() } },
      problems: [],
      handle: ({ request }) => page(requestTarget(request).path),
    },
    {
      method: "GET",
      path: "/docs/:file",
      summary: `A file of that page: ${Object.keys(FILES).join(", ")}`,
      access: "open",
      answers: { 200: { description: "The file.", type: "text/*", schema: Type.String() } },
      problems: [404],
      handle: ({ params }) => file(params.file ?? ""),
    },
  ];
}

/** Relative paths lead to the same files whether a slash ends the address or not. */
function page(pathname: string): Answer {
  const folder = pathname.endsWith("/") ? "" : "docs/";
  const body = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Task Runner: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${folder}${STYLE}">
</head>
<body>
<main id="docs"></main>
<noscript>This page needs JavaScript; openapi.json beside it does not.</noscript>
<script src="${folder}${SCRIPT}"></script>
<script src="${folder}${START}"></script>
</body>
</html>
`;
  return { status: 200, body, headers: { "content-type": "text/html; charset=utf-8", ...HARDENED } };
}

async function file(name: string): Promise<Answer> {
  const found = Object.hasOwn(FILES, name) ? FILES[name] : undefined;
  if (found === undefined) throw new TaskRunnerError("not_found", "The page of the API has no such file.");
  const headers = {
    "content-type": found.type,
    "cache-control": `public, max-age=${KEPT_SEC}`,
    ...HARDENED,
  };
  return { status: 200, body: await found.text(), headers };
}
