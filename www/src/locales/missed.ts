/** The texts of the list of missed messages, which loads them with itself. */
export const en = {
  'missed.title': 'While you were away',
  // After the name of a user.
  'missed.one': 'tried to reach you once, {when}.',
  'missed.many': 'tried to reach you {n} times, last {when}.',
  'missed.at': 'at {time}',
  'missed.on': 'on {time}',
  'missed.notices': 'Notices missed: {n}.',
  'missed.kept': 'The messages were not kept.',
  'missed.incomplete': 'There may have been more: the server has no complete record of this time.',
  'missed.stored': 'This browser stores only your place in this list.',
  'missed.close': 'Dismiss the list',
} as const;

export type MissedTextKey = keyof typeof en;

export const zh: Readonly<Record<MissedTextKey, string>> = {
  'missed.title': '您不在时',
  'missed.one': '联系过您 1 次，时间为 {when}。',
  'missed.many': '联系过您 {n} 次，最近一次为 {when}。',
  'missed.at': '{time}',
  'missed.on': '{time}',
  'missed.notices': '错过的系统消息：{n} 条。',
  'missed.kept': '消息内容没有保留。',
  'missed.incomplete': '可能还有更多：服务器没有这段时间的完整记录。',
  'missed.stored': '本浏览器只保存您读到的位置。',
  'missed.close': '关闭此列表',
};
