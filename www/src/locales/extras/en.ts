/** Texts of the parts that are loaded when they are needed, except the operator page. */
export const en = {
  'files.save': 'Save {name}',
  'files.open': 'Show {name} in full size',
  'files.close': 'Close',
  'files.cancel': 'Cancel',
  'files.remove': 'Remove {name}',
  'files.progress': '{done} of {size}',
  'files.preparing': 'Preparing…',
  'files.image': 'Image: {name}',
  'files.attached': 'Attached files',
  'files.canceled': 'This file was canceled.',
  'files.incomplete': 'This file did not arrive completely. Ask for it again.',
  'files.invalid': 'This file is damaged. Ask for it again.',
  'files.released': 'This tab keeps 64 MiB of files, and has removed this one.',
  'files.large': 'Too large: at most {max} are allowed.',
  'files.empty': 'The file is empty.',
  'files.unreadable': 'The browser cannot read this. A folder cannot be sent.',
  'files.many': 'At most {n} files at once.',
} as const;

export type ExtraTextKey = keyof typeof en;
