/** Ways to reach what must not be reached, each as an attacker would write it. */

import type { Answers } from "./dns-server.ts";

/** One URL, and whether it leads to a server on 127.0.0.1 and ::1 where nothing forbids it. */
export interface Attempt {
  /** `{port}` stands for the server's port. */
  readonly url: string;
  readonly reaches: boolean;
}

/** Public addresses for names to have; nothing is ever sent to one. */
export const PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111"] as const;

const hosts = (reaches: boolean, list: readonly string[]): readonly Attempt[] =>
  list.map((host) => ({ url: `http://${host}:{port}/`, reaches }));

const SPELLINGS = hosts(true, [
  "127.0.0.1",
  "2130706433",
  "017700000001",
  "0x7f000001",
  "0x7F.0x0.0x0.0x1",
  "0177.0.0.1",
  "0177.0.0.01",
  "00000177.0.0.1",
  "0177.1",
  "0x7f.1",
  "0x7f.0.1",
  "0x0000007f.0.0.1",
  "127.1",
  "127.0.1",
  "127.0x1",
  "127.0.0.1.",
  "2130706433.",
  "%31%32%37.0.0.1",
  "%30x7f.1",
  "１２７.０.０.１",
  "127。0。0。1",
  "①②⑦.0.0.1",
  "0.0.0.0",
  "0",
  "0x0",
  "localhost",
  "LOCALHOST",
  "%6cocalhost",
  "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[0000::0001]",
  "[::]",
]);

const EMBEDDINGS = [
  ...hosts(true, [
    "[::ffff:127.0.0.1]",
    "[::FFFF:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::ffff:0.0.0.0]",
  ]),
  ...hosts(false, [
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::127.0.0.1]",
    "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1:0:0:f7f7:f7f7]",
    "[2001:0:808:808:0:0:80ff:fffe]",
    "[2606:4700::5efe:127.0.0.1]",
    "[2606:4700::200:5efe:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:168.63.129.16]",
  ]),
];

const METADATA = [
  "http://169.254.169.254/latest/meta-data/",
  "http://2852039166/latest/meta-data/",
  "http://0xa9fea9fe/",
  "http://0251.0376.0251.0376/",
  "http://169.254.43518/",
  "http://169.254.170.2/v2/credentials",
  "http://[fd00:ec2::254]/latest/meta-data/",
  "http://[fd20:ce::254]/computeMetadata/v1/",
  "http://[fe80::a9fe:a9fe]/",
  "http://metadata.google.internal/computeMetadata/v1/",
  "http://METADATA.google.internal./",
  "http://100.100.100.200/latest/meta-data/",
  "http://192.0.0.192/opc/v2/instance/",
  "http://168.63.129.16/machine?comp=goalstate",
  "http://2822734096/",
].map((url) => ({ url, reaches: false }));

const PRIVATE = hosts(false, [
  "10.0.0.1",
  "012.0.0.1",
  "172.16.0.1",
  "192.168.0.1",
  "3232235521",
  "100.64.0.1",
  "[fc00::1]",
  "[fec0::1]",
  "[fe80::1]",
  "224.0.0.1",
  "255.255.255.255",
  "240.0.0.1",
  "vault.internal",
  "printer.local",
  "a.b.localhost",
  "api.default.svc.cluster.local",
]);

const PARSER_TRICKS = [
  { url: "http:127.0.0.1:{port}/", reaches: true },
  { url: "http:/127.0.0.1:{port}/", reaches: true },
  { url: "http:///127.0.0.1:{port}/", reaches: true },
  { url: "http:\\\\127.0.0.1:{port}\\", reaches: true },
  { url: "hTTp://127.0.0.1:{port}/", reaches: true },
  { url: "http://127.0.0.1:{port}#@example.com/", reaches: true },
  { url: "http://127.0.0.1:{port}?@example.com/", reaches: true },
  { url: "http://127.0.0.1:{port}\\@example.com/", reaches: true },
  { url: "http://@127.0.0.1:{port}/", reaches: true },
  // With a login they are refused whatever is allowed.
  { url: "http://example.com@127.0.0.1:{port}/", reaches: false },
  { url: "http://example.com:80@127.0.0.1:{port}/", reaches: false },
  { url: "http://example.com%2f@127.0.0.1:{port}/", reaches: false },
  { url: "http://user:pass@127.0.0.1:{port}/", reaches: false },
  { url: "http://a@b@127.0.0.1:{port}/", reaches: false },
  { url: "http://127.0.0.1:{port}\t/", reaches: false },
  { url: "http://127.0.0.1\n:{port}/", reaches: false },
  { url: "http://127.0.0.1%00.example.com:{port}/", reaches: false },
];

/** What can be told without asking a DNS server of the attacker's. */
export const URL_ATTEMPTS: readonly Attempt[] = [
  ...SPELLINGS,
  ...EMBEDDINGS,
  ...METADATA,
  ...PRIVATE,
  ...PARSER_TRICKS,
];

const [FIRST, SECOND, SIXTH] = PUBLIC;

/** Names whose every answer is bad, and whether they lead to this machine where nothing forbids it. */
export const BAD_NAMES: Readonly<Record<string, { readonly answers: Answers; readonly reaches: boolean }>> = {
  "loopback.example": { answers: { always: ["127.0.0.1"] }, reaches: true },
  "loopback6.example": { answers: { always: ["::1"] }, reaches: true },
  "mapped.example": { answers: { always: ["::ffff:127.0.0.1"] }, reaches: true },
  "unspecified.example": { answers: { always: ["0.0.0.0"] }, reaches: true },
  "alias.example": { answers: { always: { alias: "loopback.example" } }, reaches: true },
  "alias-of-alias.example": { answers: { always: { alias: "alias.example" } }, reaches: true },
  "both.example": { answers: { always: ["127.0.0.1", "::1"] }, reaches: true },
  "metadata.example": { answers: { always: ["169.254.169.254"] }, reaches: false },
  "azure.example": { answers: { always: ["168.63.129.16"] }, reaches: false },
  "private.example": { answers: { always: ["10.0.0.1"] }, reaches: false },
  "unique-local.example": { answers: { always: ["fd00::1"] }, reaches: false },
  "link-local.example": { answers: { always: ["fe80::1"] }, reaches: false },
  "nat64.example": { answers: { always: ["64:ff9b::7f00:1"] }, reaches: false },
  "six-to-four.example": { answers: { always: ["2002:7f00:1::"] }, reaches: false },
  "teredo.example": { answers: { always: ["2001:0:808:808:0:0:80ff:fffe"] }, reaches: false },
  "mixed.example": { answers: { always: [FIRST, "127.0.0.1"] }, reaches: false },
  "mixed-first.example": { answers: { always: ["127.0.0.1", FIRST] }, reaches: false },
  "mixed-families.example": { answers: { always: [FIRST, "::1"] }, reaches: false },
  "mixed-mapped.example": { answers: { always: [FIRST, SIXTH, "::ffff:10.0.0.1"] }, reaches: false },
  "one-of-many.example": {
    answers: { always: [...Array.from({ length: 20 }, (_, i) => `8.8.4.${i + 1}`), "169.254.169.254"] },
    reaches: false,
  },
  "mixed-alias.example": { answers: { always: { alias: "mixed.example" } }, reaches: false },
};

/** Names that are public when they are looked at first, and bad from some later look on. */
export const CHANGING_NAMES: Readonly<Record<string, Answers>> = {
  "rebind.example": { inTurn: [[FIRST], ["127.0.0.1"]] },
  "rebind6.example": { inTurn: [[SIXTH], ["::1"]] },
  "rebind-metadata.example": { inTurn: [[FIRST, SECOND], ["169.254.169.254"]] },
  "rebind-mixed.example": {
    inTurn: [
      [FIRST, SECOND],
      [FIRST, "127.0.0.1"],
    ],
  },
  "rebind-mapped.example": { inTurn: [[SIXTH], ["::ffff:127.0.0.1"]] },
  "rebind-alias.example": { inTurn: [[SECOND], { alias: "loopback.example" }] },
};
