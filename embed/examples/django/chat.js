// The Vue component of the page. It speaks the plain protocol, as it did with Django Channels. Only `relay` is new: before,
// the sockets were on the page's own host.
const Chat = {
  props: ['me', 'users', 'relay'],

  data: () => ({ to: null, text: '', messages: [], notices: [], isOpen: false }),

  computed: {
    group() {
      return [this.me, this.to].sort((one, other) => one - other).join('_');
    },
  },

  mounted() {
    this.push = this.socket(`/push/${this.me}/`);
    this.push.onmessage = ({ data }) => this.notices.push(JSON.parse(data).event);
  },

  methods: {
    socket(path) {
      const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
      return new WebSocket(`${scheme}://${this.relay}${path}`);
    },

    open(user) {
      this.chat?.close();
      this.to = user;
      this.isOpen = false;
      this.messages = [];
      this.chat = this.socket(`/ws/chat/${this.group}/`);
      this.chat.onopen = () => (this.isOpen = true);
      this.chat.onmessage = ({ data }) => this.messages.push(JSON.parse(data).message);
    },

    send() {
      this.chat.send(JSON.stringify({ message: { from: this.me, text: this.text }, to_user: String(this.to) }));
      this.text = '';
    },

    name(id) {
      return this.users.find((user) => user.id === id)?.name;
    },
  },

  template: `
    <p v-for="notice in notices" class="notice">
      <template v-if="notice.group">{{ name(notice.message.from) }}, elsewhere: {{ notice.message.text }}</template>
      <template v-else>{{ notice.message.title }}</template>
    </p>
    <button v-for="user in users.filter(({ id }) => id !== me)" class="user" @click="open(user.id)">{{ user.name }}</button>
    <form v-if="to !== null" @submit.prevent="send">
      <p v-for="message in messages" class="message">{{ name(message.from) }}: {{ message.text }}</p>
      <input v-model="text" name="text" :placeholder="'Message to ' + name(to)">
      <button class="send" :disabled="!isOpen">Send</button>
    </form>
  `,
};

const { me, users, relay } = JSON.parse(document.getElementById('chat-data').textContent);
Vue.createApp(Chat, { me, users, relay: relay || location.host }).mount('#chat');
