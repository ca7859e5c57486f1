/** The version of this program, as `--version` and `relay_build_info` report it. */
export const VERSION = "0.1.0";
