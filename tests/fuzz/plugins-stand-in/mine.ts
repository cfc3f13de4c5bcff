/** Stands where a plugin is looked for; what is loaded in its place is generated. */

export default {};
