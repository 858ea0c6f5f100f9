import type { ExtraTextKey } from './en';

export const zh: Readonly<Record<ExtraTextKey, string>> = {
  'files.save': '保存 {name}',
  'files.open': '查看 {name} 的原图',
  'files.close': '关闭',
  'files.cancel': '取消',
  'files.remove': '移除 {name}',
  'files.progress': '{done} / {size}',
  'files.preparing': '正在处理…',
  'files.image': '图片：{name}',
  'files.attached': '待发送的文件',
  'files.canceled': '这个文件已取消发送。',
  'files.incomplete': '文件未能完整送达，请让对方重新发送。',
  'files.invalid': '文件已损坏，请让对方重新发送。',
  'files.released': '本标签页最多保留 64 MiB 文件，这个文件已被移除。',
  'files.large': '文件过大，最多 {max}。',
  'files.empty': '文件是空的。',
  'files.unreadable': '浏览器无法读取。不能发送文件夹。',
  'files.many': '一次最多 {n} 个文件。',
};
