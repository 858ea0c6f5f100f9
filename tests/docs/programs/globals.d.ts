// What the TypeScript blocks of the documents take from the page around them.
declare function show(...values: unknown[]): void;
declare function showNotice(message: unknown): void;
declare function showToast(from: string, message: unknown): void;
declare const session: { user: string | null };
