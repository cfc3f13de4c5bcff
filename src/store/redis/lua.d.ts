/** Lua files are imported as their text. */
declare module "*.lua" {
  const text: string;
  export default text;
}
