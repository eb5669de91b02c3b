/*
 * Files of the server "filesystem", for programs that are linked with -lfiles: open, fopen, stat, opendir and all
 * that the C library has over them.
 */
#ifndef PENGLAI_FILES_H
#define PENGLAI_FILES_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * From now on files are those of the server with this measurement (`penglai measure filesystem --kind server` says
 * it), and of no other that the host gives the name.  0, or -1 if it is not there.  Before the first file is opened.
 */
int eapp_use_files(const unsigned char measurement[32]);

#ifdef __cplusplus
}
#endif
#endif
