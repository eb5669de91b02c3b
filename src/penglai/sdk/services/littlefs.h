/* What littlefs is compiled with: no heap, no messages, and a failed assertion ends the server. */
#define LFS_NO_MALLOC
#define LFS_NO_DEBUG
#define LFS_NO_WARN
#define LFS_NO_ERROR
#define LFS_ASSERT(test) ((test) ? (void)0 : __builtin_trap())
#define LFS_NAME_MAX 126
