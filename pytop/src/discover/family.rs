//! Which processes descend from which.

use std::collections::{HashMap, HashSet};
use std::io;

use super::proc_root::ProcRoot;

/// All living processes that descend from one of `ancestors`, the ancestors themselves not
/// included unless one descends from another.
///
/// A process whose parent has ended belongs to another one since, so that this misses those that
/// lost their parent before; the events of forks, from which a family can be followed, do not.
/// Reads one file for each process of the machine. The only error is that of a `/proc` that cannot
/// be listed.
pub fn descendants(root: &ProcRoot, ancestors: &[u32]) -> io::Result<HashSet<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in root.pids()? {
        if let Ok(stat) = root.stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut family = HashSet::new();
    let mut parents = ancestors.to_vec();
    while let Some(parent) = parents.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            // Read one after another, the parents of a number that was given to another process
            // meanwhile may form a circle.
            if family.insert(*child) {
                parents.push(*child);
            }
        }
    }
    Ok(family)
}

/// The ancestors of these processes, but for those that are among them.
#[must_use]
pub fn ancestors(root: &ProcRoot, descendants: &[u32]) -> HashSet<u32> {
    let mut ancestors = HashSet::new();
    for pid in descendants {
        let mut pid = *pid;
        while let Ok(stat) = root.stat(pid)
            && stat.parent > 0
            && ancestors.insert(stat.parent)
        {
            pid = stat.parent;
        }
    }
    for pid in descendants {
        ancestors.remove(pid);
    }
    ancestors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(parents: &[(u32, u32)]) -> (tempfile::TempDir, ProcRoot) {
        let folder = tempfile::tempdir().expect("a folder");
        for (pid, parent) in parents {
            let process = folder.path().join(pid.to_string());
            std::fs::create_dir(&process).expect("a folder");
            let stat = format!("{pid} (x) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0\n");
            std::fs::write(process.join("stat"), stat).expect("written");
        }
        let root = ProcRoot::open(folder.path()).expect("a folder");
        (folder, root)
    }

    #[test]
    fn children_of_children_belong_to_the_family() {
        let (folder, root) = tree(&[(1, 0), (5, 1), (6, 5), (7, 6), (8, 6), (9, 1), (10, 9)]);
        // One that ends between the listing and the reading.
        std::fs::create_dir(folder.path().join("11")).expect("a folder");
        for (ancestors, expected) in [
            (vec![5], vec![6, 7, 8]),
            (vec![5, 6], vec![6, 7, 8]),
            (vec![6, 9], vec![7, 8, 10]),
            (vec![7], vec![]),
            (vec![4711], vec![]),
            (vec![], vec![]),
        ] {
            let family = descendants(&root, &ancestors).expect("a tree");
            assert_eq!(family, expected.into_iter().collect(), "{ancestors:?}");
        }
    }

    #[test]
    fn a_circle_has_an_end() {
        let (_folder, root) = tree(&[(5, 7), (6, 5), (7, 6)]);
        assert_eq!(
            descendants(&root, &[5]).expect("a tree"),
            [5, 6, 7].into_iter().collect()
        );
    }
}
