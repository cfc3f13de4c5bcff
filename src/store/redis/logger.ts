/** The part of a logger that connections speak to. */

export interface ConnectionLogger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}
