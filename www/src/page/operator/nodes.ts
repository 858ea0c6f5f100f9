import { shallowRef, watch, type Ref } from 'vue';
import { count, isObject, isPartial, requestJson } from './api';
import { usePolling } from './polling';

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
  return { nodes, partial: isPartial(list) };
}

/** Reads the nodes every four seconds while the browser shows the page, until the scope ends. */
export function useNodes(token: () => string): Readonly<Ref<NodeList>> {
  const list = shallowRef(noNodes);
  const refresh = usePolling(
    () => readNodes(token()),
    (answer) => {
      // Other parts of the page say why the server does not answer.
      list.value = answer.status === 'fulfilled' ? answer.value : noNodes;
    },
    () => intervalMs,
  );
  watch(token, () => void refresh());
  return list;
}
