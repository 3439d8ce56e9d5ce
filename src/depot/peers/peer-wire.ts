/** What both ends of a connection between peers know (docs/formats/peers.md). */
export const PIECES_PATH = "/v1/pieces/";
/** `1`: only what is on the disk is asked for. */
export const HELD_HEADER = "skein-held";
/** How long the one who gives waited for the bytes, in ms. */
export const WAITED_HEADER = "skein-waited";
/** `1`: the blob ends after these bytes. */
export const ENDS_HEADER = "skein-ends";
/** While a piece is on its way to who was asked, whoever waits is told so this often, in ms. */
export const PROCESSING_MS = 500;
