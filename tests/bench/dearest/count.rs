//! What a call costs, in instructions: a child process executes it step by step. Exact, the same in each run, and needs
//! no hardware counters.
#![expect(unsafe_code, reason = "fork, ptrace and waitpid have no safe form")]

/// Why there is no figure.
pub(crate) type Failure = std::io::Error;

/// Most steps that are counted: a step takes about 20 microseconds.
pub(crate) const MOST: u64 = 100_000;

/// The instructions of `call` in user space, at most about [`MOST`]. `call` may not allocate or lock, because it runs
/// after a fork.
pub(crate) fn instructions(mut call: impl FnMut()) -> Result<u64, Failure> {
    Ok(steps(&mut call)?.saturating_sub(steps(&mut || ())?))
}

/// The steps of a child from a stop, over `call`, to its end.
fn steps(call: &mut dyn FnMut()) -> Result<u64, Failure> {
    // SAFETY: the child only stops, calls what neither allocates nor locks, and ends.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(Failure::last_os_error());
    }
    if child == 0 {
        // SAFETY: as above.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            call();
            libc::_exit(0);
        }
    }
    let counted = count_steps(child);
    if !matches!(counted, Ok(0..MOST)) {
        let mut status = 0;
        // SAFETY: the child is ours and not waited for yet.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, &raw mut status, 0);
        }
    }
    counted
}

fn count_steps(child: libc::pid_t) -> Result<u64, Failure> {
    let (mut status, mut count, mut before) = (0, 0, 0);
    loop {
        // SAFETY: the child is ours; `status` is.
        if unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
            return Err(Failure::last_os_error());
        }
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            return if libc::WIFEXITED(status) { Ok(count) } else { Err(Failure::other("the call crashed")) };
        }
        // An instruction that repeats itself stops at each repetition, and counts once.
        let at = instruction_pointer(child);
        count += u64::from(at != before);
        before = at;
        if count >= MOST {
            return Ok(count);
        }
        // SAFETY: the child is stopped.
        if unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) } < 0 {
            return Err(Failure::last_os_error());
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn instruction_pointer(child: libc::pid_t) -> i64 {
    // SAFETY: the child is stopped; the offset is that of RIP.
    unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, child, libc::RIP as usize * 8, 0) }
}

/// Elsewhere every step counts: only x86-64 has instructions that repeat themselves.
#[cfg(not(target_arch = "x86_64"))]
fn instruction_pointer(_child: libc::pid_t) -> i64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
