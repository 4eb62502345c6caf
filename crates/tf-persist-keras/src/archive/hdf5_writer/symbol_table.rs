//! The members of a group: a local heap with their names, nodes of symbols, and a B-tree over these.

use super::plan::Builder;

/// The most symbols of a node: twice the file's `Group Leaf Node K`.
const SYMBOLS: usize = 2 * super::plan::LEAF_K as usize;

/// The most children of a node of the B-tree: twice the file's `Group Internal Node K`.
const CHILDREN: usize = 2 * super::plan::INTERNAL_K as usize;

const SYMBOL: usize = 40;
const SYMBOL_NODE: usize = 8 + SYMBOLS * SYMBOL;
const TREE_NODE: usize = 24 + (2 * CHILDREN + 1) * 8;

/// The address of no node.
const NONE: u64 = u64::MAX;

/// A member of a group.
pub(super) struct Symbol<'a> {
    pub(super) name: &'a str,
    /// The address of its header.
    pub(super) header: u64,
    /// The addresses of its own table, if it is a group.
    pub(super) table: Option<SymbolTable>,
}

/// Where the members of a group are.
#[derive(Debug, Clone, Copy)]
pub(super) struct SymbolTable {
    pub(super) btree: u64,
    pub(super) heap: u64,
}

/// A node that is written, and the largest of the names in it, as its offset in the heap.
struct Node {
    address: u64,
    last: u64,
}

impl SymbolTable {
    /// Writes the table of these members, which are sorted by the bytes of their names.
    pub(super) fn write(symbols: &[Symbol<'_>], file: &mut Builder) -> Self {
        // The first name is the empty one: a tree's keys begin with it.
        let mut names = vec![0; 8];
        let offsets: Vec<u64> = symbols.iter().map(|symbol| name(&mut names, symbol.name)).collect();
        let segment = file.append(&names);
        let mut heap = b"HEAP\0\0\0\0".to_vec();
        // Its size, no free block (`H5HL_FREE_NULL`), its address.
        [names.len() as u64, 1, segment].iter().for_each(|number| heap.extend_from_slice(&number.to_le_bytes()));
        let heap = file.append(&heap);

        let mut nodes = Vec::with_capacity(symbols.len().div_ceil(SYMBOLS));
        for (symbols, offsets) in symbols.chunks(SYMBOLS).zip(offsets.chunks(SYMBOLS)) {
            let mut node = b"SNOD\x01\0".to_vec();
            node.extend_from_slice(&(symbols.len() as u16).to_le_bytes());
            for (symbol, offset) in symbols.iter().zip(offsets) {
                symbol.encode(*offset, &mut node);
            }
            node.resize(SYMBOL_NODE, 0);
            nodes.push(Node { address: file.append(&node), last: offsets.last().copied().unwrap_or(0) });
        }
        Self { btree: write_tree(nodes, file), heap }
    }
}

impl Symbol<'_> {
    /// The entry of a symbol, whose name is at an offset in the heap.
    pub(super) fn encode(&self, name: u64, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&name.to_le_bytes());
        bytes.extend_from_slice(&self.header.to_le_bytes());
        // A reader finds the table of a group here, too.
        bytes.extend_from_slice(&u64::from(self.table.is_some()).to_le_bytes());
        let table = self.table.map_or([0; 2], |table| [table.btree, table.heap]);
        table.iter().for_each(|address| bytes.extend_from_slice(&address.to_le_bytes()));
    }
}

/// Adds a name to a heap's segment, and returns its offset.
fn name(segment: &mut Vec<u8>, name: &str) -> u64 {
    let offset = segment.len() as u64;
    segment.extend_from_slice(name.as_bytes());
    segment.resize((segment.len() + 1).next_multiple_of(8), 0);
    offset
}

/// Writes the B-tree over these nodes, level by level, and returns the address of its root.
fn write_tree(mut nodes: Vec<Node>, file: &mut Builder) -> u64 {
    let mut level = 0;
    loop {
        let count = nodes.len().div_ceil(CHILDREN).max(1);
        let first = file.len();
        let mut parents = Vec::with_capacity(count);
        let mut last = 0;
        for index in 0..count {
            let children = &nodes[index * CHILDREN..nodes.len().min((index + 1) * CHILDREN)];
            let sibling = |index: usize| first + (index * TREE_NODE) as u64;
            let mut node = b"TREE\0".to_vec();
            node.push(level);
            node.extend_from_slice(&(children.len() as u16).to_le_bytes());
            let left = index.checked_sub(1).map_or(NONE, sibling);
            let right = if index + 1 < count { sibling(index + 1) } else { NONE };
            // Keys are around the children: a name before all of the first one, then the last name of each.
            for number in [left, right, last] {
                node.extend_from_slice(&number.to_le_bytes());
            }
            for child in children {
                node.extend_from_slice(&child.address.to_le_bytes());
                node.extend_from_slice(&child.last.to_le_bytes());
                last = child.last;
            }
            node.resize(TREE_NODE, 0);
            parents.push(Node { address: file.append(&node), last });
        }
        if let [root] = parents.as_slice() {
            return root.address;
        }
        nodes = parents;
        level += 1;
    }
}
