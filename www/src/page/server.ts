/** The relay's address for the client: the folder that the page came from, so that both may lie below a larger site. */
export const server = '.';
