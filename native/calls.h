/* The calls that are answered, and what their answers share. */
#ifndef CALLS_H
#define CALLS_H
#include "tracer.h"

/* A call of ours, again when modes that keep us out were mended. */
#define TRY(w, call)                                                                                               \
	({                                                                                                          \
		int bad_ = (call) ? -errno : 0;                                                                     \
		if (bad_ == -EACCES && make_accessible(w))                                                          \
			bad_ = (call) ? -errno : 0;                                                                 \
		bad_;                                                                                               \
	})

unsigned real_mode(unsigned mode);
/* Where paths are the kernel's: overlayfs parts a name from the others of a file when it changes, so do it before. */
int own_name(struct where *w, struct stat *st);
bool has_capability(const struct task *t, int number);
long open_path(struct call *c, int dirfd, int path, int flags);
void notify_answer(int listener, uint64_t id, long result, bool descriptor, bool cloexec);

#define CALL(name) long do_##name(struct call *c);
#include "calls.def"
#undef CALL
#endif
