/** Files of Swagger UI are imported as the path at which they lie. */
declare module "swagger-ui-dist/*" {
  const path: string;
  export default path;
}
