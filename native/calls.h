/* The calls that the tracer answers, and helpers that the answers share. */
#ifndef CALLS_H
#define CALLS_H
#include "tracer.h"

/* Make a call of our own; if modes keep us out, relax them and try again. */
#define TRY(w, call)                                                                                               \
	({                                                                                                          \
		int bad_ = (call) ? -errno : 0;                                                                     \
		if (bad_ == -EACCES && make_accessible(w))                                                          \
			bad_ = (call) ? -errno : 0;                                                                 \
		bad_;                                                                                               \
	})

unsigned real_mode(unsigned mode);
/* Where the kernel resolves paths: overlayfs separates a name from a file's other names when the file changes, so do
 * that first. */
int own_name(struct where *w, struct stat *st);
bool has_capability(const struct task *t, int number);
long open_path(struct call *c, int dirfd, int path, int flags);
void notify_answer(int listener, uint64_t id, long result, bool descriptor, bool cloexec);

#define CALL(name) long do_##name(struct call *c);
#include "calls.def"
#undef CALL
#endif
