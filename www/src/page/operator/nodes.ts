import { onScopeDispose, shallowRef, watch, type Ref } from 'vue';
import { pageVisible } from '../browser_state';
import { count, isObject, requestJson } from './api';

export interface ClusterNode {
  readonly name: string;
  /** Tells the runs of a node apart. */
  readonly incarnation: string;
  readonly ready: boolean;
  /** The node that answers. */
  readonly self: boolean;
  /** In ms since 1970. */
  readonly lastSeen: number;
}

export interface NodeList {
  readonly nodes: readonly ClusterNode[];
  /** A server that connects the nodes did not answer. */
  readonly partial: boolean;
}

const intervalMs = 4_000;
const noNodes: NodeList = { nodes: [], partial: false };

/** Reads GET /api/v1/nodes. */
export async function readNodes(token: string): Promise<NodeList> {
  const list = await requestJson('api/v1/nodes', { token });
  const nodes = (Array.isArray(list.nodes) ? list.nodes : []).filter(isObject).map((one) => ({
    name: String(one.node),
    incarnation: String(one.incarnation ?? ''),
    ready: one.ready === true,
    self: one.self === true,
    lastSeen: count(one.last_seen),
  }));
  return { nodes, partial: list.partial === true };
}

/** Reads the nodes every four seconds while the browser shows the page, until the scope ends. */
export function useNodes(token: () => string): Readonly<Ref<NodeList>> {
  const list = shallowRef(noNodes);
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** Changes with each reading, so that a late answer has no effect. */
  let round = 0;

  async function refresh(): Promise<void> {
    clearTimeout(timer);
    const mine = ++round;
    // Other parts of the page say why the server does not answer.
    const read = await readNodes(token()).catch(() => noNodes);
    if (mine !== round) return;
    list.value = read;
    timer = setTimeout(() => void refresh(), intervalMs);
  }
  function stop(): void {
    round += 1;
    clearTimeout(timer);
  }

  watch(pageVisible, (visible) => (visible ? void refresh() : stop()), { immediate: true });
  watch(token, () => void refresh());
  onScopeDispose(stop);
  return list;
}
