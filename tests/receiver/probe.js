/** Verifies in a process of its own: takes the kit's URL and a request as JSON, prints what the kit makes of it. */

const [kitUrl = "", argument = ""] = process.argv.slice(2);
const { MemoryMarks, onceOnly, verify } = await import(kitUrl);
const { headers, body, secret, other } = JSON.parse(argument);
const bytes = Uint8Array.from(body);
const request = new Request("https://receiver.example/", { method: "POST", headers, body: bytes });
const received = await verify(request, secret);
const once = onceOnly(new MemoryMarks());
const verdicts = [await once(received, () => {}), await once(received, () => {})];
const refused = await verify({ headers, body: bytes }, other).catch(({ name, code }) => [name, code]);
console.log(JSON.stringify({ received: { ...received, body: [...received.body] }, verdicts, refused }));
