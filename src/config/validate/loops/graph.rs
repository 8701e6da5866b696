//! The names that cnames lead to, as a directed graph. A name is in a loop if it is in a strongly connected component
//! of several names, or leads to itself. One search finds all components (Tarjan 1972), and follows each cname once.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::{Links, node};
use crate::wire::Name;

/// Most names that DNAMEs make. Each existing name can lead to as many as a name has labels. Judgment: far more than
/// zones with DNAMEs have, and 20 MB of memory at most. Loops over further ones are not found.
const MAX_MADE: usize = 20_000;
/// Most steps of one search for the way back, and of all of a zone. Judgment: a way of a thousand names helps nobody.
const WAY_STEPS: usize = 1000;
const ALL_WAY_STEPS: usize = 100_000;
/// No order, no component, no node.
const NONE: u32 = u32::MAX;
const NO_EDGE: usize = usize::MAX;

/// Names and what they lead to, as far as it was followed.
pub(super) struct Graph<'l> {
    links: &'l Links,
    names: HashMap<Name, u32, FixedState>,
    /// The nodes of lists of targets, by the place of the list in memory. All names with one list share its edges.
    lists: HashMap<*const Name, u32, FixedState>,
    nodes: Vec<Node<'l>>,
    edges: Vec<Edge>,
    /// The nodes that have an order and no component yet.
    open: Vec<u32>,
    ordered: u32,
    made: usize,
    searches: u32,
    left_for_ways: usize,
    /// How many times an edge was followed or a node was left.
    steps: usize,
}

struct Node<'l> {
    source: Source<'l>,
    /// The first of its edges, and how many there are.
    edges: (usize, usize),
    /// When the search came here; [`NONE`] before.
    order: u32,
    /// The least order of an open node that is reached from here.
    least: u32,
    /// The component, by its first node; [`NONE`] while it is open.
    component: u32,
    /// Of a list in a loop, the first edge to a name of that loop; [`NO_EDGE`] before it was searched.
    back: usize,
    /// The last search for a way that came here, the node that it came from, and the edge.
    came: (u32, u32, usize),
}

/// What a node is, and so where it leads.
#[derive(Clone)]
enum Source<'l> {
    /// An existing name: to the list of its targets.
    Name(&'l Arc<[Name]>),
    /// A list of targets: to each of them.
    List(&'l [Name]),
    /// A name below a DNAME: to the name that this makes of it.
    Below(Name),
}

struct Edge {
    to: u32,
    /// The name as the cname has it, of a wildcard a name that it covers; `None` of an edge to a list.
    name: Option<Name>,
}

impl<'l> Graph<'l> {
    pub(super) fn of(links: &'l Links) -> Graph<'l> {
        Graph {
            links,
            names: HashMap::default(),
            lists: HashMap::default(),
            nodes: Vec::new(),
            edges: Vec::new(),
            open: Vec::new(),
            ordered: 0,
            made: 0,
            searches: 0,
            left_for_ways: ALL_WAY_STEPS,
            steps: 0,
        }
    }

    /// Finds the components of everything that an existing name leads to.
    pub(super) fn follow(&mut self, owner: &Name) {
        let links = self.links;
        let Some((owner, targets)) = links.by_owner.get_key_value(owner) else { return };
        let root = self.name(owner, Source::Name(targets));
        if self.nodes[root as usize].order != NONE {
            return;
        }
        self.enter(root);
        // The nodes on the way from the root, each with the number of its edges that were followed.
        let mut way = vec![(root, 0)];
        while let Some((from, followed)) = way.last_mut() {
            self.steps += 1;
            let (from, (first, count)) = (*from, self.nodes[*from as usize].edges);
            if *followed == count {
                way.pop();
                self.leave(from, way.last().map(|(above, _)| *above));
                continue;
            }
            let to = self.edges[first + *followed].to;
            *followed += 1;
            let Node { order, component, .. } = self.nodes[to as usize];
            if order == NONE {
                self.enter(to);
                way.push((to, 0));
            } else if component == NONE {
                let least = &mut self.nodes[from as usize].least;
                *least = order.min(*least);
            }
        }
    }

    /// The first target of an existing name that was followed which is in one loop with it.
    pub(super) fn target_in_loop(&mut self, owner: &Name) -> Option<Name> {
        let (_, edge) = self.edge_in_loop(owner)?;
        self.edges[edge].name.clone()
    }

    /// All targets of an existing name that was followed which are in one loop with it.
    pub(super) fn targets_in_loop(&self, owner: &Name) -> impl Iterator<Item = Name> {
        let own = self.names.get(owner).map(|own| &self.nodes[*own as usize]);
        let list = own.and_then(|own| Some(self.edges[own.edges.0..own.edges.0 + own.edges.1].first()?.to));
        let edges = list.map_or(&[][..], |list| {
            let (first, count) = self.nodes[list as usize].edges;
            &self.edges[first..first + count]
        });
        let component = own.map_or(NONE, |own| own.component);
        let in_loop = edges.iter().filter(move |edge| self.nodes[edge.to as usize].component == component);
        in_loop.filter_map(|edge| edge.name.clone())
    }

    /// The node of a name, and the edge of the list of its targets that leads back to it.
    fn edge_in_loop(&mut self, owner: &Name) -> Option<(u32, usize)> {
        let own = *self.names.get(owner)?;
        let Node { component, edges: (to_list, count), .. } = self.nodes[own as usize];
        let list = self.edges[to_list..to_list + count].first()?.to;
        if self.nodes[list as usize].component != component {
            return None;
        }
        if self.nodes[list as usize].back == NO_EDGE {
            let (first, count) = self.nodes[list as usize].edges;
            let is_in_loop = |edge: &usize| self.nodes[self.edges[*edge].to as usize].component == component;
            let back = (first..first + count).find(is_in_loop)?;
            self.steps += back - first;
            self.nodes[list as usize].back = back;
        }
        Some((own, self.nodes[list as usize].back))
    }

    /// The shortest chain of names from the target of [`Graph::target_in_loop`] back to the name. `None` where it is
    /// too long to be searched.
    pub(super) fn way_back(&mut self, owner: &Name) -> Option<Vec<Name>> {
        let (own, edge) = self.edge_in_loop(owner)?;
        let component = self.nodes[own as usize].component;
        self.searches += 1;
        let search = self.searches;
        let mut found = vec![(own, edge)];
        let mut at = 0;
        while let Some(&(from, edge)) = found.get(at) {
            at += 1;
            let to = self.edges[edge].to;
            let node = &mut self.nodes[to as usize];
            if node.came.0 == search || node.component != component {
                continue;
            }
            node.came = (search, from, edge);
            if to == own {
                return Some(self.way_to(own));
            }
            let (first, count) = node.edges;
            self.left_for_ways = self.left_for_ways.checked_sub(count)?;
            if found.len() + count > WAY_STEPS {
                return None;
            }
            self.steps += count;
            found.extend((first..first + count).map(|edge| (to, edge)));
        }
        None
    }

    /// The names on the way by which the last search came from `own` to itself.
    fn way_to(&self, own: u32) -> Vec<Name> {
        let (mut way, mut at) = (Vec::new(), own);
        loop {
            let (_, from, edge) = self.nodes[at as usize].came;
            way.extend(self.edges[edge].name.clone());
            at = from;
            if at == own {
                break;
            }
        }
        way.reverse();
        way
    }

    /// The node of a name.
    fn name(&mut self, name: &Name, source: Source<'l>) -> u32 {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = self.add(source);
        self.names.insert(name.clone(), id);
        id
    }

    fn add(&mut self, source: Source<'l>) -> u32 {
        let node = Node {
            source,
            edges: (0, 0),
            order: NONE,
            least: NONE,
            component: NONE,
            back: NO_EDGE,
            came: (0, NONE, 0),
        };
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// Gives a node its order and its edges.
    fn enter(&mut self, id: u32) {
        let first = self.edges.len();
        match self.nodes[id as usize].source.clone() {
            Source::Name(targets) if targets.is_empty() => {}
            Source::Name(targets) => {
                let to = match self.lists.get(&targets.as_ptr()) {
                    Some(to) => *to,
                    None => {
                        let to = self.add(Source::List(targets));
                        self.lists.insert(targets.as_ptr(), to);
                        to
                    }
                };
                self.edges.push(Edge { to, name: None });
            }
            Source::List(targets) => targets.iter().for_each(|target| self.add_edge(target)),
            Source::Below(renamed) => self.add_edge(&renamed),
        }
        let edges = (first, self.edges.len() - first);
        let node = &mut self.nodes[id as usize];
        (node.edges, node.order, node.least) = (edges, self.ordered, self.ordered);
        self.ordered += 1;
        self.open.push(id);
    }

    /// Adds an edge to the node that answers for `target`, if there is one.
    fn add_edge(&mut self, target: &Name) {
        let links = self.links;
        let to = match links.renamed(target) {
            Some(_) if self.made >= MAX_MADE && !self.names.contains_key(target) => return,
            Some(renamed) => {
                self.made += usize::from(!self.names.contains_key(target));
                self.name(target, Source::Below(renamed))
            }
            None => match node(target, links) {
                Some((owner, targets)) => self.name(owner, Source::Name(targets)),
                None => return,
            },
        };
        self.edges.push(Edge { to, name: Some(target.clone()) });
    }

    /// Ends a node: all of its edges were followed.
    fn leave(&mut self, id: u32, above: Option<u32>) {
        let Node { order, least, .. } = self.nodes[id as usize];
        if let Some(above) = above {
            let of_above = &mut self.nodes[above as usize].least;
            *of_above = least.min(*of_above);
        }
        if order != least {
            return;
        }
        while let Some(member) = self.open.pop() {
            self.nodes[member as usize].component = id;
            if member == id {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name(at: usize) -> Name {
        Name::parse(&format!("n{at}.example")).unwrap()
    }

    /// Names that lead to others: each with the numbers of its targets.
    fn links(of: impl Iterator<Item = Vec<usize>>) -> Links {
        let by_owner = of.enumerate().map(|(at, to)| (name(at), to.into_iter().map(name).collect()));
        Links { by_owner: by_owner.collect(), ..Links::default() }
    }

    /// The names that are in a loop, and the steps that it took to find them and their ways.
    fn looped(links: &Links, count: usize) -> (Vec<usize>, usize) {
        let mut graph = Graph::of(links);
        (0..count).for_each(|at| graph.follow(&name(at)));
        let mut found = Vec::new();
        for at in 0..count {
            let Some(target) = graph.target_in_loop(&name(at)) else { continue };
            found.push(at);
            assert!(links.by_owner[&name(at)].contains(&target));
            if let Some(way) = graph.way_back(&name(at)) {
                assert_eq!((way.first(), way.last()), (Some(&target), Some(&name(at))));
                assert!(way.windows(2).all(|pair| links.by_owner[&pair[0]].contains(&pair[1])), "{way:?}");
            }
        }
        (found, graph.steps)
    }

    #[test]
    fn names_of_one_policy_share_its_cnames() {
        const COUNT: usize = 1000;
        let targets: Arc<[Name]> = (0..COUNT).map(|at| name(at + COUNT)).collect();
        let by_owner = (0..COUNT).map(|at| (name(at), Arc::clone(&targets)));
        let links = Links { by_owner: by_owner.collect(), ..Links::default() };
        let (found, steps) = looped(&links, COUNT);
        assert!(found.is_empty() && steps <= 6 * COUNT, "{steps}");
    }

    #[test]
    fn steps_grow_with_the_names_and_not_with_their_square() {
        const COUNT: usize = 100_000;
        let chain = links((0..COUNT).map(|at| vec![at + 1; usize::from(at + 1 < COUNT)]));
        let ring = links((0..COUNT).map(|at| vec![(at + 1) % COUNT]));
        // Two ways from each name to the next but one.
        let ladder = links((0..COUNT).map(|at| (at + 1..(at + 3).min(COUNT)).collect()));
        let star = links((0..COUNT).map(|at| if at == 0 { (1..COUNT).collect() } else { vec![0] }));
        for (what, links, in_loops) in
            [("chain", chain, 0), ("ring", ring, COUNT), ("ladder", ladder, 0), ("star", star, COUNT)]
        {
            let (found, steps) = looped(&links, COUNT);
            assert_eq!(found.len(), in_loops, "{what}");
            // Each name and its list are left once, and each edge is followed once.
            assert!(steps <= 6 * COUNT + 2 * ALL_WAY_STEPS, "{what}: {steps}");
        }
    }

    proptest::proptest! {
        /// A name is in a loop exactly if following all of its cnames leads back to it.
        #[test]
        fn loops_are_those_that_following_finds(
            targets in proptest::collection::vec(proptest::collection::vec(0..12_usize, 0..4), 12..13)
        ) {
            let links = links(targets.iter().cloned());
            let leads_back = |at: usize| {
                let (mut seen, mut left) = (HashSet::new(), targets[at].clone());
                while let Some(next) = left.pop() {
                    if seen.insert(next) {
                        left.extend(&targets[next]);
                    }
                }
                seen.contains(&at)
            };
            let expected: Vec<usize> = (0..targets.len()).filter(|at| leads_back(*at)).collect();
            proptest::prop_assert_eq!(looped(&links, targets.len()).0, expected);
        }
    }
}
